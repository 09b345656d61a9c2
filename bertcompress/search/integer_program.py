"""The best child under additive scores and additive costs, as an integer programme that proves its answer.

One binary variable an operator of a position, one operator a position, every budget a row: solved by HiGHS
through `scipy.optimize.milp` (Huangfu & Hall 2018, doi 10.1007/s12532-017-0130-5). A choice is a tuple of
operator indices, one a position; costs of K kinds are arrays of shape (number of operators, K) a position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

Choice: TypeAlias = tuple[int, ...]
Array: TypeAlias = NDArray[np.float64]

# Sums of floats are compared with a bound up to this share of it; one parameter of a billion still counts.
RELATIVE_TOLERANCE = 1e-9
INFEASIBLE = 2  # scipy's status


@dataclass(frozen=True)
class AdditiveCosts:
    """Costs that are `constant` (K,) plus one row (K,) for the operator chosen at each position."""

    constant: Array
    operators: tuple[Array, ...]

    def of(self, choice: Sequence[int]) -> Array:
        """The K costs of a choice."""
        rows = [rows[index] for rows, index in zip(self.operators, choice, strict=True)]
        return self.constant + np.sum(rows, axis=0)


@dataclass(frozen=True)
class Range:
    """The bounds of one cost, both ends allowed; infinite where there is none."""

    lower: float = -math.inf
    upper: float = math.inf

    def contains(self, value: float) -> bool:
        """Whether a sum of floats lies within, up to its rounding."""
        return (
            self.lower - RELATIVE_TOLERANCE * _scale(self.lower)
            <= value
            <= self.upper + RELATIVE_TOLERANCE * _scale(self.upper)
        )

    def overshoot(self, value: float) -> float:
        """By which share of the broken bound the value is outside; 0.0 within."""
        if self.contains(value):
            return 0.0
        broken = self.upper if value > self.upper else self.lower
        return abs(value - broken) / _scale(broken)


@dataclass(frozen=True)
class NearestFeasible:
    """What could be asked for instead of ranges that no choice meets.

    `alone` holds the smallest and the largest value of each cost when nothing else is asked for; `given_others`
    the value nearest to its range when all other ranges are kept (None where those exclude each other);
    `choice` is the one whose overshoots, as shares of the bounds, add up to the least, and `values` its costs.
    """

    alone: tuple[tuple[float, float], ...]
    given_others: tuple[float | None, ...]
    choice: Choice
    values: tuple[float, ...]


def solve(
    scores: Sequence[ArrayLike],
    costs: AdditiveCosts,
    ranges: Sequence[Range],
    *,
    excluded: Iterable[Choice] = (),
    identities: Sequence[int] = (),
) -> Choice | None:
    """The choice with the lowest sum of `scores` whose costs are in `ranges`; None is the proof of none.

    `excluded` choices are cut off. `identities`, the identity's index at each position, restricts choices to
    those whose identities all stand at the end, so that every network is met in one placement only.
    """
    model = _Model([np.asarray(row, dtype=float) for row in scores], identities)
    rows = _cost_rows(model, costs, ranges)
    cuts = [model.cut(choice) for choice in excluded]
    while True:
        choice = model.minimize([*rows, *cuts])
        if choice is None or _within(costs, ranges, choice):
            return choice
        cuts.append(model.cut(choice))  # within the solver's tolerance only: next to the bound, but outside


def nearest_feasible(costs: AdditiveCosts, ranges: Sequence[Range]) -> NearestFeasible:
    """How near to `ranges` the costs of any choice come, each alone and all together."""
    free = [Range()] * len(ranges)
    alone, given_others = [], []
    for kind, wanted in enumerate(ranges):
        column = [rows[:, kind] for rows in costs.operators]
        smallest = sum(float(values.min()) for values in column) + float(costs.constant[kind])
        largest = sum(float(values.max()) for values in column) + float(costs.constant[kind])
        alone.append((smallest, largest))
        others = [free[kind] if other == kind else kept for other, kept in enumerate(ranges)]
        given_others.append(_nearest_value(costs, others, kind, wanted))
    choice = _least_overshoot(costs, ranges)
    return NearestFeasible(tuple(alone), tuple(given_others), choice, tuple(map(float, costs.of(choice))))


def _nearest_value(costs: AdditiveCosts, others: Sequence[Range], kind: int, wanted: Range) -> float | None:
    """The reachable value of one cost that is nearest to what is wanted, from below and from above."""
    column = [rows[:, kind] for rows in costs.operators]
    found = []
    for sign, side in ((1, Range(lower=wanted.lower)), (-1, Range(upper=wanted.upper))):
        ranges = [side if other == kind else kept for other, kept in enumerate(others)]
        choice = solve([sign * values for values in column], costs, ranges)
        if choice is not None:
            found.append(float(costs.of(choice)[kind]))
    return min(found, key=wanted.overshoot) if found else None


def _least_overshoot(costs: AdditiveCosts, ranges: Sequence[Range]) -> Choice:
    """The choice with the least sum of overshoots, by one slack a bound that costs its share."""
    model = _Model([np.zeros(len(rows)) for rows in costs.operators], ())
    slacks = [
        (kind, sign, bound)
        for kind, wanted in enumerate(ranges)
        for sign, bound in ((1.0, wanted.upper), (-1.0, wanted.lower))
        if math.isfinite(bound)
    ]
    constraints = []
    for index, (kind, sign, bound) in enumerate(slacks):
        row = np.concatenate([rows[:, kind] for rows in costs.operators])
        offset = bound - float(costs.constant[kind])
        own = np.zeros(len(slacks))
        own[index] = -1.0
        scale = _scale(bound)
        constraints.append(_Row(np.concatenate([sign * row / scale, own]), -math.inf, sign * offset / scale))
    choice = model.minimize(constraints, num_slacks=len(slacks))
    assert choice is not None, "slacks make every choice feasible"
    return choice


@dataclass(frozen=True)
class _Row:
    coefficients: Array
    lower: float
    upper: float


class _Model:
    """The binary variables of a space: which of a position's operators is chosen."""

    def __init__(self, scores: Sequence[Array], identities: Sequence[int]) -> None:
        self.sizes = [len(row) for row in scores]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(int)
        self.num_variables = int(self.starts[-1])
        # From 0 to 1000 for the worst choice: the solver's tolerances are absolute.
        shifted = np.concatenate([row - row.min() for row in scores])
        spread = sum(float(row.max() - row.min()) for row in scores)
        self._objective = shifted * (1000 / spread if spread > 0 else 1.0)
        self._rows = [self._one_operator(position) for position in range(len(scores))]
        self._rows += [self._identity_stays(position, identities) for position in range(len(identities) - 1)]

    def _one_operator(self, position: int) -> _Row:
        row = np.zeros(self.num_variables)
        row[self.starts[position] : self.starts[position + 1]] = 1.0
        return _Row(row, 1.0, 1.0)

    def _identity_stays(self, position: int, identities: Sequence[int]) -> _Row:
        """After an identity comes an identity."""
        row = np.zeros(self.num_variables)
        row[self.starts[position] + identities[position]] = 1.0
        row[self.starts[position + 1] + identities[position + 1]] = -1.0
        return _Row(row, -math.inf, 0.0)

    def cut(self, choice: Choice) -> _Row:
        """At least one position differs from `choice`."""
        row = np.zeros(self.num_variables)
        row[self.starts[:-1] + np.asarray(choice)] = 1.0
        return _Row(row, -math.inf, len(choice) - 1.0)

    def minimize(self, rows: Sequence[_Row], *, num_slacks: int = 0) -> Choice | None:
        """The best choice under `rows`; with slacks, variables of cost 1 that follow the binary ones."""
        rows = [*self._rows, *rows]
        width = self.num_variables + num_slacks
        matrix = np.zeros((len(rows), width))
        for index, row in enumerate(rows):
            matrix[index, : len(row.coefficients)] = row.coefficients
        upper = np.concatenate([np.ones(self.num_variables), np.full(num_slacks, np.inf)])
        result = milp(
            np.concatenate([self._objective, np.ones(num_slacks)]),
            integrality=np.concatenate([np.ones(self.num_variables), np.zeros(num_slacks)]),
            bounds=Bounds(np.zeros(width), upper),
            constraints=LinearConstraint(matrix, [row.lower for row in rows], [row.upper for row in rows]),
            options={"mip_rel_gap": 0.0},
        )
        if result.status == INFEASIBLE:
            return None
        if result.x is None:
            raise RuntimeError(f"integer programme: the solver gave up: {result.message}")
        return tuple(
            int(np.argmax(result.x[start : start + size]))
            for start, size in zip(self.starts[:-1], self.sizes, strict=True)
        )


def _cost_rows(model: _Model, costs: AdditiveCosts, ranges: Sequence[Range]) -> list[_Row]:
    rows = []
    for kind, wanted in enumerate(ranges):
        row = np.concatenate([rows[:, kind] for rows in costs.operators])
        scale = float(np.abs(row).max()) or 1.0
        offset = float(costs.constant[kind])
        rows.append(_Row(row / scale, (wanted.lower - offset) / scale, (wanted.upper - offset) / scale))
    return rows


def _within(costs: AdditiveCosts, ranges: Sequence[Range], choice: Choice) -> bool:
    return all(wanted.contains(float(value)) for wanted, value in zip(ranges, costs.of(choice), strict=True))


def _scale(bound: float) -> float:
    return abs(bound) if math.isfinite(bound) and bound != 0 else 1.0
