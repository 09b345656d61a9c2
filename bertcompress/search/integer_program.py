"""The best child under additive scores and additive costs, as an integer program that proves its answer.

One binary variable an operator of a position, one operator a position, every budget a row: solved by HiGHS
through `scipy.optimize.milp` (Huangfu & Hall 2018, doi 10.1007/s12532-017-0130-5). A choice is a tuple of
operator indices, one a position. Where budgets exclude each other, `feasibility` says what to ask for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

Choice: TypeAlias = tuple[int, ...]
Array: TypeAlias = NDArray[np.float64]

# Sums of floats are compared with a bound up to this share of it; one parameter of a billion still counts.
RELATIVE_TOLERANCE = 1e-9
# The solver's tolerances are absolute, some 1e-6: scores run from 0 to this for the worst choice.
SCORE_SCALE = 1000.0
# How much worse than the relaxation an operator may make a choice to be looked at, at first; and what the
# solver's tolerance on reduced costs may hide.
CORE_WIDTH, CORE_MARGIN = 8.0, 1e-3
SOLVED, INFEASIBLE = 0, 2  # scipy's status


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
class Interval:
    """The bounds of one cost, both ends allowed; infinite where there is none."""

    lower: float = -math.inf
    upper: float = math.inf

    def contains(self, value: float) -> bool:
        """Whether a sum of floats lies within, up to its rounding."""
        return self.lower - _rounding(self.lower) <= value <= self.upper + _rounding(self.upper)


def solve(
    scores: Sequence[Array],
    costs: AdditiveCosts,
    intervals: Sequence[Interval],
    *,
    excluded: Iterable[Choice] = (),
    identities: Sequence[int] = (),
    allowed: Sequence[Array] | None = None,
) -> Choice | None:
    """The choice with the lowest sum of `scores` whose costs are in `intervals`; None is the proof of none.

    `scores` holds an array (number of operators,) a position, and so does `allowed`, which is 1 for operators
    that may be chosen (all by default). `excluded` choices are cut off. `identities`,
    the identity's index at each position, restricts choices to those whose identities all stand at the end,
    so that every network is met in one placement only.
    """
    model = _Model(scores, allowed)
    for kind, wanted in enumerate(intervals):
        model.keep_within([rows[:, kind] for rows in costs.operators], float(costs.constant[kind]), wanted)
    model.pack(identities)
    for known in excluded:
        model.cut(known)
    while True:
        choice = model.minimize()
        if choice is None or _within(costs, intervals, choice):
            return choice
        model.cut(choice)  # within the solver's tolerance only: next to the bound, but outside


def _within(costs: AdditiveCosts, intervals: Sequence[Interval], choice: Choice) -> bool:
    return all(
        wanted.contains(float(value)) for wanted, value in zip(intervals, costs.of(choice), strict=True)
    )


def _rounding(bound: float) -> float:
    return RELATIVE_TOLERANCE * abs(bound) if math.isfinite(bound) else 0.0


class _Model:
    """The binary variables of a space, which of a position's operators is chosen, and the rows so far."""

    def __init__(self, scores: Sequence[Array], allowed: Sequence[Array] | None = None) -> None:
        self._sizes = [len(row) for row in scores]
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype(int)
        self._num_variables = int(self._starts[-1])
        shifted = np.concatenate([row - row.min() for row in scores])
        spread = sum(float(row.max() - row.min()) for row in scores)
        self._objective = shifted * (SCORE_SCALE / spread if spread > 0 else 1.0)
        self._most = np.ones(self._num_variables) if allowed is None else np.concatenate(allowed)
        self._rows: list[tuple[Array, float, float]] = []
        for position in range(len(scores)):
            row = np.zeros(self._num_variables)
            row[self._starts[position] : self._starts[position + 1]] = 1.0
            self._rows.append((row, 1.0, 1.0))

    def keep_within(self, values: Sequence[Array], constant: float, wanted: Interval) -> None:
        """The sum of the chosen values and the constant stays in a range.

        Values count from each position's smallest one up, and no further than they matter, in shares of what
        is left to spend: a huge one would otherwise make the others vanish in the solver's tolerance.
        """
        least = constant + sum(float(row.min()) for row in values)
        more = np.concatenate([row - row.min() for row in values])
        if math.isfinite(wanted.upper):
            left = wanted.upper - least
            affordable = more <= left + _rounding(wanted.upper)
            self._most[~affordable] = 0.0
            if left > 0:
                self._rows.append((np.where(affordable, more, 0.0) / left, -math.inf, 1.0))
        if math.isfinite(wanted.lower) and wanted.lower > least:
            needed = wanted.lower - least
            self._rows.append((np.minimum(more, needed) / needed, 1.0, math.inf))

    def pack(self, identities: Sequence[int]) -> None:
        """After an identity comes an identity."""
        for position in range(len(identities) - 1):
            row = np.zeros(self._num_variables)
            row[self._starts[position] + identities[position]] = 1.0
            row[self._starts[position + 1] + identities[position + 1]] = -1.0
            self._rows.append((row, -math.inf, 0.0))

    def cut(self, choice: Choice) -> None:
        """At least one position differs from `choice`."""
        row = np.zeros(self._num_variables)
        row[self._starts[:-1] + np.asarray(choice)] = 1.0
        self._rows.append((row, -math.inf, len(choice) - 1.0))

    def minimize(self) -> Choice | None:
        """The best choice under all rows; None when there is none.

        Only a core of operators is searched (Balas & Zemel 1980, doi 10.1287/opre.28.5.1130): an operator
        whose reduced cost in the linear relaxation is r makes any choice at least r worse than the
        relaxation. The core grows until what was found in it beats all that lies outside.
        """
        bound, reduced = self._relaxed()
        width, widest = CORE_WIDTH, float(reduced.max())
        while True:
            found = self._search(np.where(reduced <= width, self._most, 0.0))
            if found is None and width >= widest:
                return None
            if found is None:
                width = 4 * width + CORE_MARGIN
            elif found[1] - bound <= width - CORE_MARGIN or width >= widest:
                return found[0]
            else:
                width = found[1] - bound + 2 * CORE_MARGIN

    def _relaxed(self) -> tuple[float, Array]:
        """A lower bound of all choices, and by how much each operator raises it; zeros where it has none."""
        rows, lower, upper = (np.array(part) for part in zip(*self._rows, strict=True))
        equal = lower == upper
        above, below = ~equal & np.isfinite(lower), ~equal & np.isfinite(upper)
        result = linprog(
            self._objective,
            A_ub=np.concatenate([rows[below], -rows[above]]),
            b_ub=np.concatenate([upper[below], -lower[above]]),
            A_eq=rows[equal],
            b_eq=lower[equal],
            # One operator a position bounds the variables already: no bound of their own takes a share.
            bounds=[(0.0, None if most else 0.0) for most in self._most],
        )
        if result.status != SOLVED:
            return -math.inf, np.zeros(self._num_variables)
        return float(result.fun), np.asarray(result.lower.marginals)

    def _search(self, most: Array) -> tuple[Choice, float] | None:
        """The best choice of operators whose `most` is one, with its objective; None when there is none."""
        rows, lower, upper = zip(*self._rows, strict=True)
        for presolve in (True, False):  # presolving fails now and then where solving does not
            result = milp(
                self._objective,
                integrality=np.ones(self._num_variables),
                bounds=Bounds(np.zeros(self._num_variables), most),
                constraints=LinearConstraint(np.stack(rows), lower, upper),
                options={"mip_rel_gap": 0.0, "presolve": presolve},
            )
            if result.status in (SOLVED, INFEASIBLE):
                break
        if result.status == INFEASIBLE:
            return None
        if result.status != SOLVED:
            raise RuntimeError(f"the integer program was not solved: {result.message}")
        choice = tuple(
            int(np.argmax(result.x[start : start + size]))
            for start, size in zip(self._starts[:-1], self._sizes, strict=True)
        )
        return choice, float(result.fun)
