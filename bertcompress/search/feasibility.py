"""The proof before any training that some child fits the budgets, or how near any child comes to them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from bertcompress.errors import BudgetError
from bertcompress.search.additive import Box, CountProgram, Counts, additive_costs
from bertcompress.search.budget import Budget, Budgets, Cost, CostOf, format_value
from bertcompress.space import Child, SearchSpace

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
        return "-".join(operator.name for operator in self.child)


def check_feasible(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> Child:
    """A child that fits the budgets, as far inside them as one can be, found without training or sampling.

    Exact: there is one that fits exactly when one is returned.

    Raises:
        BudgetError: no child fits; names the smallest (or largest) reachable value of each budget that cannot
            be met alone, or else the nearest values that can be met together, and the children that do.
    """
    child = fitting_child(space, cost_of, budgets, rng)
    if child is not None:
        return child
    program = _program(space, cost_of, rng)
    problems = _single_problems(program, cost_of, budgets) or _joint_problems(program, cost_of, budgets)
    raise BudgetError.from_problems("budget", problems)


def fitting_child(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> Child | None:
    """As `check_feasible`, but None where no child fits, and no word why."""
    if not budgets.limits:
        return space.smallest()
    return _fitting_child(_program(space, cost_of, rng), cost_of, budgets)


def nearest_child(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> PricedChild:
    """The child that breaks the budgets by the least sum of shares: what to ask for where none fits."""
    program = _program(space, cost_of, rng)
    nearest = _nearest(program, cost_of, budgets)
    assert nearest is not None, "without hard limits every child is allowed"
    return nearest


def _program(space: SearchSpace, cost_of: CostOf, rng: random.Random) -> CountProgram:
    return CountProgram(space, additive_costs(space, cost_of, rng), cost_of(space.smallest()).names)


def _fitting_child(program: CountProgram, cost_of: CostOf, budgets: Budgets) -> Child | None:
    boxes = [program.whole]
    while boxes:
        box = boxes.pop()
        solution = program.most_central(budgets.limits, box)
        if solution is None:
            continue
        counts, share = solution
        child = program.child(counts)
        if budgets.fits(cost_of(child)):
            return child
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
    program: CountProgram, cost_of: CostOf, soft: Budgets, hard: Budgets | None = None
) -> PricedChild | None:
    counts = program.least_overshoot(soft.limits, hard.limits if hard else ())
    if counts is None:
        return None
    child = program.child(counts)
    return PricedChild(child, cost_of(child))


def _single_problems(program: CountProgram, cost_of: CostOf, budgets: Budgets) -> list[str]:
    """What is wrong with each budget that no child meets even when the others are dropped."""
    problems = []
    for budget in budgets.limits:
        alone = Budgets((budget,))
        if _fitting_child(program, cost_of, alone) is None:
            nearest = _nearest(program, cost_of, alone)
            assert nearest is not None, "without hard limits every child is allowed"
            problems.append(f"{budget.name}: {_unreachable(program, budget, nearest)}")
    return problems


def _unreachable(program: CountProgram, budget: Budget, nearest: PricedChild) -> str:
    smallest, largest = program.reach(budget.name)
    reached = f"{format_value(budget.name, nearest.cost[budget.name])} by {nearest.name}"
    if budget.upper is not None and budget.upper < smallest:
        limit = format_value(budget.name, budget.upper)
        return f"{limit} is below the smallest reachable, {reached}; raise it or allow smaller operators"
    if budget.lower is not None and budget.lower > largest:
        limit = format_value(budget.name, budget.lower)
        return f"{limit} is above the largest reachable, {reached}; lower it or allow larger operators"
    return f"no child has {budget}; the nearest is {reached}; widen the range"


def _joint_problems(program: CountProgram, cost_of: CostOf, budgets: Budgets) -> list[str]:
    """For each budget the nearest value within all others, and the child that is nearest to all together."""
    problems = []
    for budget in budgets.limits:
        others = Budgets(tuple(other for other in budgets.limits if other is not budget))
        words = f"{budget.name}: {budget} cannot be met together with {' and '.join(_words(others))}"
        nearest = _nearest(program, cost_of, Budgets((budget,)), hard=others)
        if nearest is not None:
            value = format_value(budget.name, nearest.cost[budget.name])
            words += f"; within that the nearest is {value} by {nearest.name}"
        problems.append(words)
    together = _nearest(program, cost_of, budgets)
    assert together is not None, "without hard limits every child is allowed"
    reached = [f"{b.name} {format_value(b.name, together.cost[b.name])}" for b in budgets.limits]
    return [*problems, f"nearest to all together is {', '.join(reached)} by {together.name}; allow that much"]


def _words(budgets: Budgets) -> list[str]:
    return [f"{budget.name} {budget}" for budget in budgets.limits]
