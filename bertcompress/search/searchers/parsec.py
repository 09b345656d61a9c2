"""PARSEC: a distribution over architectures, learned by importance-weighted Monte Carlo.

Casale et al. 2019, arXiv 1902.05116. Children are drawn one at a time, so memory is that of one child; each
weighs as its likelihood, exp(-score / temperature), over the sum of the round's, and the distribution moves
towards the weighted operators. Saved as JSON (`distribution.save`), it carries what was learned on little
data or a short chain over to more data or a longer one (`start`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from bertcompress.search.budget import Budgets, CostOf, SampleChild
from bertcompress.search.distribution import OperatorDistribution
from bertcompress.search.draws import Draws
from bertcompress.search.driver import Evaluation
from bertcompress.space import Child, SearchSpace


class Parsec:
    """Draws children from its distribution, and moves it by what they score.

    `temperature` is in standard deviations of a round's scores; `step` is the share of the way that the
    distribution goes; `floor` is the least share of the uniform probability that an operator keeps.
    """

    def __init__(
        self,
        space: SearchSpace,
        sample: SampleChild,
        cost_of: CostOf,
        budgets: Budgets,
        *,
        start: OperatorDistribution | None = None,
        temperature: float = 0.25,
        step: float = 0.3,
        floor: float = 0.05,
    ) -> None:
        if temperature <= 0 or not 0 < step <= 1 or not 0 <= floor < 1:
            raise ValueError(
                f"temperature {temperature}, step {step}, floor {floor}:"
                " use above 0, above 0 to 1, and 0 to below 1"
            )
        if start is not None and start.choices != space.choices:
            raise ValueError("start is over another space; carry it over with OperatorDistribution.from_dict")
        self._draws = Draws(sample, cost_of, budgets)
        self._temperature, self._step, self._floor = temperature, step, floor
        self.distribution = start or OperatorDistribution.uniform(space)

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """`n` new children from the distribution, topped up with uniform draws when it repeats itself."""
        return self._draws.ask(n, self.distribution.draw, rng)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """A step towards the round's draws, each with its importance weight."""
        children, scores = self._draws.tell(evaluations)
        if not children:
            return
        weights = importance_weights(scores, self._temperature)
        targets = self.distribution.shares(children, weights)
        moved = [
            (1 - self._step) * row + self._step * target
            for row, target in zip(self.distribution.probabilities, targets, strict=True)
        ]
        kept = [np.maximum(row, self._floor / len(row)) for row in moved]
        self.distribution = OperatorDistribution(
            self.distribution.choices, tuple(row / row.sum() for row in kept)
        )


def importance_weights(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Weights (N,) of draws with these scores (N,): likelihoods exp(-score / T) over their sum.

    T is `temperature` times the standard deviation of the scores: their scale does not matter.
    """
    spread = float(scores.std()) or 1.0
    likelihoods = np.exp(-(scores - scores.min()) / (temperature * spread))
    weights: np.ndarray = likelihoods / likelihoods.sum()
    return weights
