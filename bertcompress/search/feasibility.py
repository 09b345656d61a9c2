"""The proof before any training that some child fits the budgets, or how near any child comes to them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bertcompress.errors import BudgetError
from bertcompress.search.additive import Box, CountProgram, Counts, reach
from bertcompress.search.budget import Budget, Budgets, Cost, CostOf, format_value
from bertcompress.space import Child, SearchSpace, child_name

# One for each part of the space (see additive).
Programs: TypeAlias = Sequence[CountProgram]
# As near to a limit as this share of it, the true costs decide and not the solver's.
UNDECIDED_SHARE = 1e-6


@dataclass(frozen=True)
class PricedChild:
    """A child, placed on the space's positions, and its cost."""

    child: Child
    cost: Cost

    @property
    def name(self) -> str:
        """The chain in words, identities included."""
        return child_name(self.child)


def check_feasible(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> Child:
    """A child that fits the budgets, as far inside them as one can be, found without training or sampling.

    Exact: there is one that fits exactly when one is returned.

    Raises:
        BudgetError: no child fits; names the smallest (or largest) reachable value of each budget that cannot
            be met alone, or else the nearest values that can be met together, and the children that do. Also
            for a lower limit on a latency that is the larger of two sums, of which nothing can be proven.
    """
    child = fitting_child(space, cost_of, budgets, rng)
    if child is not None:
        return child
    programs = CountProgram.of_parts(space, cost_of, budgets, rng)
    problems = _single_problems(programs, cost_of, budgets) or _joint_problems(programs, cost_of, budgets)
    raise BudgetError.from_problems("budget", problems)


def fitting_child(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> Child | None:
    """As `check_feasible`, but None where no child fits, and no word why."""
    if not budgets.limits:
        return space.smallest()
    return _fitting_child(CountProgram.of_parts(space, cost_of, budgets, rng), cost_of, budgets)


def nearest_child(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> PricedChild:
    """The child that breaks the budgets by the least sum of shares: what to ask for where none fits."""
    nearest = _nearest(CountProgram.of_parts(space, cost_of, budgets, rng), cost_of, budgets)
    assert nearest is not None, "without hard limits every child is allowed"
    return nearest


def _fitting_child(programs: Programs, cost_of: CostOf, budgets: Budgets) -> Child | None:
    """The child that is farthest inside the budgets, of the programs' bests."""
    found = [best for program in programs if (best := _most_central(program, cost_of, budgets)) is not None]
    return max(found, key=lambda best: best[0])[1] if found else None


def _most_central(program: CountProgram, cost_of: CostOf, budgets: Budgets) -> tuple[float, Child] | None:
    boxes = [program.whole]
    while boxes:
        box = boxes.pop()
        solution = program.most_central(budgets.limits, box)
        if solution is None:
            continue
        counts, share = solution
        child = program.child(counts)
        if budgets.fits(cost_of(child)):
            return share, child
        if share > -UNDECIDED_SHARE:
            boxes.extend(_without(box, counts))
    return None


def _without(box: Box, counts: Counts) -> Iterator[Box]:
    """Boxes that hold all of `box` but `counts`, each point once."""
    least, most = list(box[0]), list(box[1])
    for index, count in enumerate(counts):
        if count > least[index]:
            yield tuple(least), (*most[:index], count - 1, *most[index + 1 :])
        if count < most[index]:
            yield (*least[:index], count + 1, *least[index + 1 :]), tuple(most)
        least[index] = most[index] = count


def _nearest(
    programs: Programs, cost_of: CostOf, soft: Budgets, hard: Budgets | None = None
) -> PricedChild | None:
    solutions = [(p, p.least_overshoot(soft.limits, hard.limits if hard else ())) for p in programs]
    children = [program.child(counts) for program, counts in solutions if counts is not None]
    priced = [PricedChild(child, cost_of(child)) for child in children]
    return min(priced, key=lambda one: soft.overshoot(one.cost), default=None)


def _single_problems(programs: Programs, cost_of: CostOf, budgets: Budgets) -> list[str]:
    """What is wrong with each budget that no child meets even when the others are dropped."""
    problems = []
    for budget in budgets.limits:
        alone = Budgets((budget,))
        if _fitting_child(programs, cost_of, alone) is None:
            nearest = _nearest(programs, cost_of, alone)
            assert nearest is not None, "without hard limits every child is allowed"
            problems.append(f"{budget.name}: {_unreachable(programs, budget, nearest)}")
    return problems


def _unreachable(programs: Programs, budget: Budget, nearest: PricedChild) -> str:
    smallest, largest = reach(programs, budget.name)
    reached = f"{format_value(budget.name, nearest.cost[budget.name])} by {nearest.name}"
    if budget.upper is not None and budget.upper < smallest:
        limit = format_value(budget.name, budget.upper)
        return f"{limit} is below the smallest reachable, {reached}; raise it or allow smaller operators"
    if budget.lower is not None and budget.lower > largest:
        limit = format_value(budget.name, budget.lower)
        return f"{limit} is above the largest reachable, {reached}; lower it or allow larger operators"
    return f"no child has {budget}; the nearest is {reached}; widen the range"


def _joint_problems(programs: Programs, cost_of: CostOf, budgets: Budgets) -> list[str]:
    """For each budget the nearest value within all others, and the child that is nearest to all together."""
    problems = []
    for budget in budgets.limits:
        others = Budgets(tuple(other for other in budgets.limits if other is not budget))
        words = f"{budget.name}: {budget} cannot be met together with {' and '.join(_words(others))}"
        nearest = _nearest(programs, cost_of, Budgets((budget,)), hard=others)
        if nearest is not None:
            value = format_value(budget.name, nearest.cost[budget.name])
            words += f"; within that the nearest is {value} by {nearest.name}"
        problems.append(words)
    together = _nearest(programs, cost_of, budgets)
    assert together is not None, "without hard limits every child is allowed"
    reached = [f"{b.name} {format_value(b.name, together.cost[b.name])}" for b in budgets.limits]
    return [*problems, f"nearest to all together is {', '.join(reached)} by {together.name}; allow that much"]


def _words(budgets: Budgets) -> list[str]:
    return [f"{budget.name} {budget}" for budget in budgets.limits]
