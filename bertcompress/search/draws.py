"""Rounds of draws from a learned distribution: which of them are new, and what all of them were worth.

The driver scores no network twice, while a distribution that learns draws its favourites again and again. An
update that saw only the new draws would be one of another distribution; so repeated draws come with the score
that is remembered, and draws outside the budgets with a worse one than any that fits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bertcompress.search.budget import Budgets, CostOf, SampleChild
from bertcompress.search.driver import Evaluation
from bertcompress.space import Child, canonical

MOST_DRAWS_PER_CHILD = 10


class Draws:
    """The current round; `sample` fills up what the distribution does not find."""

    def __init__(self, sample: SampleChild, cost_of: CostOf, budgets: Budgets) -> None:
        self._sample, self._cost_of, self._budgets = sample, cost_of, budgets
        self._scores: dict[Child, float] = {}
        self._round: list[Child] = []

    def ask(self, n: int, draw: Callable[[random.Random], Child], rng: random.Random) -> list[Child]:
        """`n` children that fit and are new, drawn with `draw` as far as `10 n` draws give them."""
        self._round = []
        found: dict[Child, Child] = {}
        while len(found) < n and len(self._round) < MOST_DRAWS_PER_CHILD * n:
            self._round.append(draw(rng))
            self._note(self._round[-1], found)
        for _ in range(MOST_DRAWS_PER_CHILD * n):
            if len(found) == n:
                break
            self._note(self._sample(rng), found)
        # A space without anything new is the driver's to notice: it is told of a repetition.
        return list(found.values()) or [self._sample(rng)]

    def _note(self, placed: Child, found: dict[Child, Child]) -> None:
        child = canonical(placed)
        if child not in self._scores and self._overshoot(placed) == 0:
            found.setdefault(child, placed)

    def _overshoot(self, placed: Child) -> float:
        return self._budgets.overshoot(self._cost_of(placed))

    def tell(self, evaluations: Sequence[Evaluation]) -> tuple[list[Child], NDArray[np.float64]]:
        """Remembers scores; gives back the round's draws and a finite score (N,) for each, low is good.

        What does not fit, and what scored infinite, is worse than the worst known by one standard deviation
        of the known scores, and by another for each budget's worth of overshoot.
        """
        self._scores |= {e.child: e.score for e in evaluations if e.overshoot == 0}
        known = np.array([score for score in self._scores.values() if np.isfinite(score)])
        if not len(known):
            return [], np.zeros(0)
        worst, spread = float(known.max()), float(known.std()) or 1.0
        children, scores = [], []
        for placed in self._round:
            score = self._scores.get(canonical(placed))
            overshoot = self._overshoot(placed) if score is None else 0.0
            if score is None and overshoot == 0:
                continue  # the driver had enough before this one
            children.append(placed)
            is_known = score is not None and np.isfinite(score)
            scores.append(score if is_known else worst + spread * (1 + overshoot))
        self._round = []
        return children, np.array(scores, dtype=float)
