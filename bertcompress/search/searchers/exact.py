"""Exact search: the optimum of additive scores under the budgets, found and proven by an integer program.

After a design of random children the scores are regressed on who stands where. The first proposal is the
optimum of the expected scores; the others are optima of scores drawn from the posterior, so that what is
uncertain is tried (Thompson 1933, doi 10.1093/biomet/25.3-4.285). Every proposal is new: networks that were
proposed before are cut off. Then the model is fitted again. Exact is the answer to the model: how operators
interact is noise to it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertcompress.search.additive import additive_costs, additive_parts, require_sums
from bertcompress.search.budget import Budgets, Cost, CostOf, SampleChild
from bertcompress.search.driver import Evaluation
from bertcompress.search.integer_program import AdditiveCosts, Array, Choice, Interval, solve
from bertcompress.search.placement import can_pack, packed
from bertcompress.search.surrogates import AdditiveScores
from bertcompress.space import IDENTITY, Child, SearchSpace, canonical

MOST_REPETITIONS = 50


@dataclass(frozen=True)
class _Part:
    """A part of the space in which costs are sums: which operators of the whole it allows, and costs."""

    allowed: tuple[Array, ...]
    costs: AdditiveCosts

    @classmethod
    def of(cls, whole: SearchSpace, part: SearchSpace, costs: AdditiveCosts) -> _Part:
        """The part by the whole space's operators; what it does not allow costs what its cheapest does."""
        allowed, rows = [], []
        for operators, kept, added in zip(whole.choices, part.choices, costs.operators, strict=True):
            allowed.append(np.array([float(operator in kept) for operator in operators]))
            least = added.min(axis=0)
            rows.append(np.array([added[kept.index(o)] if o in kept else least for o in operators]))
        return cls(tuple(allowed), AdditiveCosts(costs.constant, tuple(rows)))


def _intervals(cost: Cost, budgets: Budgets) -> list[Interval]:
    """Return the interval that the budgets leave to each sum of a cost."""
    require_sums(cost.names_of_sums, budgets.limits)
    bounds = {name: Interval(lower, upper) for name, lower, upper in budgets.bounds(cost.names)}
    return [bounds[name] for name in cost.names_of_sums]


def _total(scores: Sequence[Array], choice: Choice) -> float:
    return sum(float(row[index]) for row, index in zip(scores, choice, strict=True))


class Exact:
    """Proposes optima of an additive model of the scores, all budgets as constraints.

    Children are placed with their identities at the end where the space allows it, so that one cut removes a
    network; elsewhere each placement is cut by itself, as far as `MOST_REPETITIONS` go.
    """

    def __init__(
        self,
        space: SearchSpace,
        sample: SampleChild,
        cost_of: CostOf,
        budgets: Budgets,
        *,
        design_size: int = 24,
    ) -> None:
        if design_size < 2:
            raise ValueError(f"design of {design_size}: use 2 or more")
        self._space, self._sample, self._cost_of, self._budgets = space, sample, cost_of, budgets
        self._parts = [
            _Part.of(space, part, additive_costs(part, cost_of, random.Random(0)))
            for part in additive_parts(space)
        ]
        self._intervals = _intervals(cost_of(space.smallest()), budgets)
        self._packs = can_pack(space)
        has_identity = self._packs and IDENTITY in space.choices[0]
        self._identities = [o.index(IDENTITY) for o in space.choices] if has_identity else []
        # With as many children as the model has free contributions, it can be fitted.
        self._design_size = min(design_size, 1 + sum(len(operators) - 1 for operators in space.choices))
        self._scored: list[Evaluation] = []
        self._proposed: dict[Child, Choice] = {}

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """Random children while the design lasts, then up to `n` new optima."""
        missing = self._design_size - len(self._scored)
        if missing > 0:
            return [self._placed(self._sample(rng)) for _ in range(min(n, missing))]
        model = self.model()
        generator = np.random.default_rng(rng.getrandbits(64))
        found: list[Child] = []
        for index in range(n):
            scores = model.means if index == 0 else model.draw(generator)
            child = self._optimum(scores)
            if child is None:
                break
            found.append(child)
        return found or [self._placed(self._sample(rng))]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes scores in for the next fit."""
        for evaluation in evaluations:
            self._note(evaluation.placed)
            if evaluation.overshoot == 0:
                self._scored.append(evaluation)

    def model(self) -> AdditiveScores:
        """The contributions of all operators, as far as the scores so far tell."""
        return AdditiveScores.fit(
            self._space,
            [self._placed(evaluation.placed) for evaluation in self._scored],
            [evaluation.score for evaluation in self._scored],
        )

    def _optimum(self, scores: Sequence[Array]) -> Child | None:
        """The best child that was not proposed before; None when there is none."""
        repeated: list[Choice] = []
        for _ in range(MOST_REPETITIONS):
            choice = self._best(scores, [*self._proposed.values(), *repeated])
            if choice is None:
                return None
            child = tuple(o[index] for o, index in zip(self._space.choices, choice, strict=True))
            if canonical(child) not in self._proposed and self._budgets.fits(self._cost_of(child)):
                self._note(child)
                return child
            repeated.append(choice)
        return None

    def _best(self, scores: Sequence[Array], excluded: Sequence[Choice]) -> Choice | None:
        """The choice with the lowest sum of scores over all parts of the space."""
        found = [
            choice
            for part in self._parts
            if (
                choice := solve(
                    scores,
                    part.costs,
                    self._intervals,
                    excluded=excluded,
                    identities=self._identities,
                    allowed=part.allowed,
                )
            )
            is not None
        ]
        return min(found, key=lambda choice: _total(scores, choice), default=None)

    def _note(self, placed: Child) -> None:
        child = self._placed(placed)
        choice = tuple(o.index(operator) for o, operator in zip(self._space.choices, child, strict=True))
        self._proposed.setdefault(canonical(child), choice)

    def _placed(self, child: Child) -> Child:
        return packed(child) if self._packs else child
