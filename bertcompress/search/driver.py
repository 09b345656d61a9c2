"""The one search loop: a searcher proposes, the driver dedupes, checks budgets and scores.

Resuming is a replay: with the same seed the searcher proposes the same children again, and `remembered` reads
their scores instead of computing them, so a killed search ends like one that was never killed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from bertcompress.errors import BudgetError
from bertcompress.search.budget import Budgets, Cost, CostOf
from bertcompress.search.pareto import pareto_front
from bertcompress.space import Child, SearchSpace, canonical, child_name, placed_steps

# Up to this many children the fitting ones are listed, so that the end of the space is known exactly.
MOST_CHILDREN_LISTED = 20_000
MOST_FRUITLESS_ASKS = 50


@dataclass(frozen=True)
class Evaluation:
    """A child with its score (lower is better) and cost.

    `child` is canonical, `placed` the same network on the space's positions. A child over budget is never
    scored: its `score` is infinite, its `overshoot` above zero, and it is told to the searcher only.
    """

    child: Child
    placed: Child
    score: float
    cost: Cost
    overshoot: float = 0.0

    @property
    def name(self) -> str:
        """The canonical chain in words."""
        return child_name(self.child)


@dataclass(frozen=True)
class SearchResult:
    """What was scored, in order; the best of it; and its front over score, parameters and latency."""

    evaluations: tuple[Evaluation, ...]
    best: Evaluation
    front: tuple[Evaluation, ...]
    stopped_because: str


class Searcher(Protocol):
    """Proposes children, is told how they did, and draws randomness only from the generator it is given."""

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """Up to about `n` children of the space, placed."""
        ...

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """The outcome of proposed and of other children, each canonical child once."""
        ...


# Gets different placed children, and gives each back with its score as soon as it is known, in any order.
ScoreMany: TypeAlias = Callable[[Sequence[Child]], Iterable[tuple[Child, float]]]


def one_by_one(score: Callable[[Child], float]) -> ScoreMany:
    """Children scored in the order of their steps, so that those that share a prefix follow each other."""

    def score_many(children: Sequence[Child]) -> Iterable[tuple[Child, float]]:
        return ((child, score(child)) for child in sorted(children, key=placed_steps))

    return score_many


@dataclass
class _Search:
    """One search under way."""

    score_many: ScoreMany
    cost_of: CostOf
    budgets: Budgets
    num_evaluations: int
    evaluations: list[Evaluation] = field(default_factory=list)
    seen: set[Child] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        return len(self.evaluations) >= self.num_evaluations

    def take(self, proposals: Sequence[Child]) -> list[Evaluation]:
        """Evaluates what is new among the proposals; children over budget come back unscored."""
        outcome: list[Evaluation] = []
        fitting: list[int] = []  # where in the outcome
        for placed in proposals:
            child = canonical(placed)
            if child in self.seen or len(self.evaluations) + len(fitting) >= self.num_evaluations:
                continue
            self.seen.add(child)
            cost = self.cost_of(placed)
            overshoot = self.budgets.overshoot(cost)
            if overshoot == 0:
                fitting.append(len(outcome))
            outcome.append(Evaluation(child, placed, math.inf, cost, overshoot))
        scores = self._scores([outcome[index].placed for index in fitting])
        for index, score in zip(fitting, scores, strict=True):
            outcome[index] = replace(outcome[index], score=score)
            self.evaluations.append(outcome[index])
        return outcome

    def _scores(self, children: Sequence[Child]) -> list[float]:
        """The score of each child; one that is no number is the worst there is."""
        scores = dict(self.score_many(children) if children else ())
        return [math.inf if math.isnan(scores[child]) else float(scores[child]) for child in children]

    def result(self, reason: str) -> SearchResult:
        if not self.evaluations:
            raise BudgetError("search: no proposed child fits the budgets; raise them or widen the space")
        best = min(self.evaluations, key=lambda e: (e.score, e.cost.values, e.child))
        front = pareto_front(self.evaluations, lambda e: (e.score, *e.cost.values))
        return SearchResult(tuple(self.evaluations), best, tuple(front), reason)


def search(
    space: SearchSpace,
    searcher: Searcher,
    *,
    score_many: ScoreMany,
    cost_of: CostOf,
    budgets: Budgets,
    num_evaluations: int,
    rng: random.Random,
    seeds: Sequence[Child] = (),
    ask_size: int = 8,
) -> SearchResult:
    """Scores up to `num_evaluations` different children that fit the budgets, `seeds` first.

    `score_many` and `cost_of` get placed children. `ask_size` children are proposed, and scored, at a time: a
    larger generation shares more prefixes and keeps more workers busy, but learns from its scores less often.
    Ends early when every fitting child is scored, or when the searcher repeats itself for long. Where the
    scores are `remembered`, a freshly seeded `rng` takes up a search that was killed.

    Raises:
        BudgetError: nothing that was proposed fits.
    """
    under_way = _Search(score_many, cost_of, budgets, num_evaluations)
    listed = _fitting_children(space, cost_of, budgets)
    searcher.tell(under_way.take(seeds))
    fruitless = 0
    while not under_way.is_full:
        remaining = None if listed is None else [listed[c] for c in listed if c not in under_way.seen]
        if remaining == []:
            return under_way.result("every child that fits was scored")
        if fruitless >= MOST_FRUITLESS_ASKS and remaining is None:
            return under_way.result("the searcher proposed nothing new")
        proposals = searcher.ask(ask_size, rng)
        if fruitless >= MOST_FRUITLESS_ASKS and remaining:
            proposals = rng.sample(remaining, min(ask_size, len(remaining)))
        scored_before = len(under_way.evaluations)
        searcher.tell(under_way.take(proposals))
        fruitless = fruitless + 1 if len(under_way.evaluations) == scored_before else 0
    return under_way.result(f"{num_evaluations} children were scored")


def _fitting_children(space: SearchSpace, cost_of: CostOf, budgets: Budgets) -> dict[Child, Child] | None:
    """The first placement of every canonical child that fits; None when the space is too large to list."""
    if space.num_children > MOST_CHILDREN_LISTED:
        return None
    first: dict[Child, Child] = {}
    for placed in itertools.product(*space.choices):
        first.setdefault(canonical(placed), placed)
    return {child: placed for child, placed in first.items() if budgets.fits(cost_of(placed))}
