"""Costs as sums over the positions, and integer programs over how often each operator is chosen.

Where the head reads the first token only, an operator's price depends on whether a later one mixes tokens
(`space.first_token_from`): then costs are sums within each part of the space that settles which is the last.
A latency may be the larger of two sums: both have to be within an upper limit, and a lower one is refused.

Positions that offer the same at the same price are one group, of which only the number of times each operator
stands in it counts. HiGHS solves the programs (Huangfu & Hall 2018, doi 10.1007/s12532-017-0130-5) through
`scipy.optimize.milp`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from bertcompress.errors import BudgetError
from bertcompress.search.budget import Budget, Budgets, CostOf
from bertcompress.search.integer_program import AdditiveCosts, Array
from bertcompress.space import Child, Operator, SearchSpace

Counts: TypeAlias = tuple[int, ...]
Box: TypeAlias = tuple[Counts, Counts]  # the least and the most of every count

NUM_ADDITIVITY_CHECKS = 8
# The solver's tolerances are absolute, 1e-6: as hundredths, shares of a limit are right to 1e-8. Much finer
# units make it give up.
SHARE_SCALE = 100.0
# An optimum known to a tenth tells its sign, which is all that feasibility asks for.
SIGN_GAP = 0.1
SOLVED, INFEASIBLE = 0, 2  # scipy's status


def additive_costs(space: SearchSpace, cost_of: CostOf, rng: random.Random) -> AdditiveCosts:
    """What every operator adds when it takes its position's place in the smallest child, whose costs stay.

    They are those of all `Cost.sums` in a row.

    Raises:
        ValueError: costs are not sums over positions (see `additive_parts`), as `rng`'s children show.
    """

    def sums_of(child: Child) -> Array:
        return np.array([each for sums in cost_of(child).sums for each in sums], dtype=np.float64)

    start = space.smallest()
    constant = sums_of(start)
    added = []
    for position, operators in enumerate(space.choices):
        changed = [(*start[:position], operator, *start[position + 1 :]) for operator in operators]
        added.append(np.array([sums_of(child) for child in changed]) - constant)
    largest = np.abs(constant) + sum(np.abs(rows).max(axis=0) for rows in added)
    for child in (space.sample(rng) for _ in range(NUM_ADDITIVITY_CHECKS)):
        rows = [added[p][space.choices[p].index(operator)] for p, operator in enumerate(child)]
        expected, true = constant + np.sum(rows, axis=0), sums_of(child)
        if not np.all(np.abs(expected - true) <= 1e-6 * np.abs(true) + 1e-12 * largest):
            raise ValueError(f"costs are not sums over positions: {expected} expected of {child}, not {true}")
    return AdditiveCosts(constant, tuple(added))


def require_sums(names: Sequence[str], budgets: Sequence[Budget]) -> None:
    """Refuse budgets that are not limits on sums; `names` are those of the sums (see `Cost`).

    The largest of several sums is at most a limit where all of them are. To be at least a limit, any one of
    them would do, which no set of rows says.

    Raises:
        ValueError: a budget's name is not among them.
        BudgetError: a lower limit is on a cost that is the largest of several sums.
    """
    if unknown := [budget.name for budget in budgets if budget.name not in names]:
        raise ValueError(f"{', '.join(unknown)}: budgets, but not among the costs {', '.join(names)}")
    refused = [budget for budget in budgets if budget.lower and names.count(budget.name) > 1]
    if refused:
        problems = [
            f"{budget.name}: {budget}; it is the larger of two sums here, because the weights of a large "
            "network come from memory; leave out the lower limit"
            for budget in refused
        ]
        raise BudgetError.from_problems("budget", problems)


def additive_parts(space: SearchSpace) -> list[SearchSpace]:
    """The space in parts within which costs are sums over the positions; each child is in one of them.

    It is whole, but under "cls" pooling: there a part settles the last position that mixes tokens, if any.
    """
    if space.dimensions.pooling != "cls":
        return [space]
    mixing = [tuple(o for o in operators if o.mixes_tokens) for operators in space.choices]
    still = [tuple(o for o in operators if not o.mixes_tokens) for operators in space.choices]
    parts = [tuple(still)]
    parts += [(*space.choices[:last], mixing[last], *still[last + 1 :]) for last in range(len(space.choices))]
    return [SearchSpace(space.dimensions, choices) for choices in parts if all(choices)]


@dataclass(frozen=True)
class _Group:
    positions: tuple[int, ...]
    operators: tuple[Operator, ...]
    rows: Array  # (operators, K)


class CountProgram:
    """Chooses counts, one for each operator of each group of like positions; a group's add up to its size.

    `names` are those of the sums (see `Cost`).
    """

    def __init__(self, space: SearchSpace, costs: AdditiveCosts, names: Sequence[str]) -> None:
        self.costs = costs
        self.names = tuple(names)
        self._groups = _like_positions(space, costs)
        # Every group from its cheapest up, kind by kind: then nothing subtracts.
        cheapest = [group.rows.min(axis=0) for group in self._groups]
        self._least = costs.constant + sum(
            len(group.positions) * row for group, row in zip(self._groups, cheapest, strict=True)
        )  # (K,)
        self._more = np.concatenate(
            [group.rows - row for group, row in zip(self._groups, cheapest, strict=True)]
        ).T  # (K, counts)
        sizes = [len(group.positions) for group in self._groups for _ in group.operators]
        self.whole: Box = ((0,) * len(sizes), tuple(sizes))

    def reach(self, name: str) -> tuple[float, float]:
        """A bound below all children's values of one cost, and the largest of them.

        No child is at the bound where it is the largest of several sums, of which others are smallest.
        """
        kinds = [kind for kind, known in enumerate(self.names) if known == name]
        columns = [rows[:, kinds] for rows in self.costs.operators]
        constant = self.costs.constant[kinds]
        least = constant + np.sum([column.min(axis=0) for column in columns], axis=0)
        most = constant + np.sum([column.max(axis=0) for column in columns], axis=0)
        return float(least.max()), float(most.max())

    def child(self, counts: Counts) -> Child:
        """A child with these counts, placed."""
        placed: dict[int, Operator] = {}
        remaining = iter(counts)
        for group in self._groups:
            chosen = [operator for operator in group.operators for _ in range(next(remaining))]
            placed |= dict(zip(group.positions, chosen, strict=True))
        return tuple(placed[position] for position in range(len(placed)))

    @classmethod
    def of_parts(
        cls, space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random
    ) -> list[CountProgram]:
        """Return a program for each part of the space in which costs are sums.

        Raises:
            BudgetError: a budget is not a limit on sums (see `require_sums`).
        """
        names = cost_of(space.smallest()).names_of_sums
        require_sums(names, budgets.limits)
        return [cls(part, additive_costs(part, cost_of, rng), names) for part in additive_parts(space)]

    def most_central(self, budgets: Sequence[Budget], box: Box) -> tuple[Counts, float] | None:
        """Counts whose least distance to any limit, as a share of it, is greatest, and that share.

        Negative where not all limits can be kept; its sign is right to 1e-8, its size to a tenth. None for a
        box without counts.
        """
        rows, right, _ = self._shares(budgets)
        matrix = np.hstack([rows, np.ones((len(rows), 1))])
        solved = self._solve(box, matrix, right, np.array([-1.0]), most=SHARE_SCALE, gap=SIGN_GAP)
        return None if solved is None else (solved[0], -solved[1])

    def least_overshoot(self, soft: Sequence[Budget], hard: Sequence[Budget] = ()) -> Counts | None:
        """Counts that keep the `hard` budgets and break the `soft` ones by the least sum of shares."""
        num_soft = sum((budget.upper is not None) + bool(budget.lower) for budget in soft)
        rows, right, limits = self._shares([*soft, *hard])
        # Where a limit is for several sums, it is broken by the sum that breaks it most.
        broken_by = np.equal.outer(limits, np.arange(num_soft)).astype(float)
        matrix = np.hstack([rows, -broken_by])
        solved = self._solve(self.whole, matrix, right, np.ones(num_soft), least=0.0, gap=0.0)
        return None if solved is None else solved[0]

    def _shares(self, budgets: Sequence[Budget]) -> tuple[Array, Array, list[int]]:
        """Return rows and right-hand sides such that rows @ counts <= right-hand side keeps every limit.

        The third value is the number of the limit, counted through the budgets, that each row is for.
        """
        rows, right, limits = [np.zeros((0, self._more.shape[1]))], [], []
        number = 0
        for budget in budgets:
            kinds = [kind for kind, name in enumerate(self.names) if name == budget.name]
            if budget.upper is not None:
                scale = SHARE_SCALE / budget.upper
                rows.append(self._more[kinds] * scale)
                right += [(budget.upper - float(self._least[kind])) * scale for kind in kinds]
                limits += [number] * len(kinds)
                number += 1
            if budget.lower:
                (kind,) = kinds  # see require_sums
                least, more = float(self._least[kind]), self._more[kind : kind + 1]
                # No operator needs to count for more than twice the limit; a huge one, a millionth of which
                # passes for none with the solver, would do so in part.
                capped = np.minimum(more, max(0.0, 2 * budget.lower - least))
                rows.append(capped * (-SHARE_SCALE / budget.lower))
                right.append((budget.lower - least) * (-SHARE_SCALE / budget.lower))
                limits.append(number)
                number += 1
        return np.concatenate(rows), np.array(right), limits

    def _solve(
        self,
        box: Box,
        matrix: Array,
        right: Array,
        objective: Array,
        *,
        gap: float,
        least: float = -np.inf,
        most: float = np.inf,
    ) -> tuple[Counts, float] | None:
        """Minimises `objective` over the variables that follow the counts, each from `least` to `most`.

        The counts and the minimum, None where nothing meets the rows.
        """
        num_counts, num_more = len(box[0]), len(objective)
        members = np.zeros((len(self._groups), num_counts + num_more))
        start = 0
        for row, group in zip(members, self._groups, strict=True):
            row[start : start + len(group.operators)] = 1.0
            start += len(group.operators)
        sizes = [len(group.positions) for group in self._groups]
        for presolve in (True, False):  # presolving fails now and then where solving does not
            result = milp(
                np.concatenate([np.zeros(num_counts), objective]),
                integrality=np.concatenate([np.ones(num_counts), np.zeros(num_more)]),
                bounds=Bounds(np.append(box[0], [least] * num_more), np.append(box[1], [most] * num_more)),
                constraints=[
                    LinearConstraint(members, sizes, sizes),
                    LinearConstraint(matrix, np.full(len(right), -np.inf), right),
                ],
                options={"mip_rel_gap": gap, "presolve": presolve},
            )
            if result.status in (SOLVED, INFEASIBLE):
                break
        if result.status == INFEASIBLE:
            return None
        if result.x is None:
            raise RuntimeError(f"the integer program was not solved: {result.message}")
        return tuple(round(count) for count in result.x[:num_counts]), float(result.fun) / SHARE_SCALE


def reach(programs: Sequence[CountProgram], name: str) -> tuple[float, float]:
    """The smallest and the largest value of one cost over all children of the programs' parts."""
    smallest, largest = zip(*(program.reach(name) for program in programs), strict=True)
    return min(smallest), max(largest)


def _like_positions(space: SearchSpace, costs: AdditiveCosts) -> list[_Group]:
    """The positions by what they offer and at which price, up to the rounding of sums."""
    groups: list[_Group] = []
    scale = np.abs(costs.constant) + sum(np.abs(rows).max(axis=0) for rows in costs.operators)
    for position, (operators, rows) in enumerate(zip(space.choices, costs.operators, strict=True)):
        for index, group in enumerate(groups):
            if group.operators == operators and np.all(np.abs(group.rows - rows) <= 1e-12 * scale):
                groups[index] = _Group((*group.positions, position), operators, group.rows)
                break
        else:
            groups.append(_Group((position,), operators, rows))
    return groups
