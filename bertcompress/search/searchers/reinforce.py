"""A policy-gradient controller: REINFORCE (Williams 1992) over architectures, as in Zoph & Le 2017.

arXiv 1611.01578. The policy is one softmax a position in place of a recurrent network, which a chain of
independent choices does not need (Nunes & Pappa 2020 compare such a controller with chance). A moving average
of the rewards is the baseline, and an entropy bonus keeps the policy from settling early.
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


class Reinforce:
    """Draws children from its policy and makes those above the baseline more likely."""

    def __init__(
        self,
        space: SearchSpace,
        sample: SampleChild,
        cost_of: CostOf,
        budgets: Budgets,
        *,
        learning_rate: float = 3.0,
        entropy_weight: float = 0.05,
        baseline_momentum: float = 0.8,
    ) -> None:
        if learning_rate <= 0 or entropy_weight < 0 or not 0 <= baseline_momentum < 1:
            raise ValueError(
                f"learning rate {learning_rate}, entropy weight {entropy_weight}, baseline momentum"
                f" {baseline_momentum}: use above 0, 0 or more, and 0 to below 1"
            )
        self._space = space
        self._draws = Draws(sample, cost_of, budgets)
        self._learning_rate, self._entropy_weight = learning_rate, entropy_weight
        self._momentum = baseline_momentum
        self._logits = [np.zeros(len(operators)) for operators in space.choices]
        self._baseline: float | None = None
        self._spread = 1.0

    @property
    def policy(self) -> OperatorDistribution:
        """The distribution that children are drawn from."""
        shifted = [np.exp(row - row.max()) for row in self._logits]
        return OperatorDistribution(self._space.choices, tuple(row / row.sum() for row in shifted))

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """`n` new children drawn from the policy, topped up with uniform draws when it repeats itself."""
        return self._draws.ask(n, self.policy.draw, rng)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """One step up the gradient of the expected reward, the negative score, over the round's draws."""
        children, scores = self._draws.tell(evaluations)
        if not children:
            return
        rewards = -scores
        if self._baseline is None:
            self._baseline, self._spread = float(rewards.mean()), float(rewards.std()) or 1.0
        # In units of the scores' spread, so that one learning rate suits losses of every scale.
        advantages = (rewards - self._baseline) / self._spread
        self._climb(children, advantages)
        keep = self._momentum
        self._baseline = keep * self._baseline + (1 - keep) * float(rewards.mean())
        self._spread = keep * self._spread + (1 - keep) * (float(rewards.std()) or self._spread)

    def _climb(self, children: Sequence[Child], advantages: np.ndarray) -> None:
        policy = self.policy
        chosen = policy.shares(children, advantages / len(children))
        for logits, row, share in zip(self._logits, policy.probabilities, chosen, strict=True):
            log_row = np.log(np.maximum(row, 1e-12))
            score_gradient = share - advantages.mean() * row
            entropy_gradient = -row * (log_row - float(row @ log_row))
            logits += self._learning_rate * (score_gradient + self._entropy_weight * entropy_gradient)
