"""The costs of a run by name, and the recipe's limits on them: a speedup becomes milliseconds here."""

from __future__ import annotations

from collections.abc import Mapping

from bertcompress.export.size import estimate_size_mib
from bertcompress.latency.table import LatencyTable
from bertcompress.measure import Conditions
from bertcompress.recipe import Recipe
from bertcompress.recipe.budget import CONDITIONS, BudgetSection, LatencyBudget, Limit, ends
from bertcompress.search import Budgets, Cost, CostOf
from bertcompress.space import Architecture, Child, Dimensions

LATENCY = "latency_ms"  # at the conditions of the recipe's section latency
Ends = tuple[float | None, float | None]


def latency_conditions(recipe: Recipe) -> dict[str, Conditions]:
    """The conditions of every latency of the run by its cost's name, those under latency first."""
    main = Conditions(**{name: getattr(recipe.latency, name) for name in CONDITIONS})
    further = [Conditions(**each.conditions(recipe.latency)) for each in recipe.budget.latencies]
    return {LATENCY: main, **{latency_name(conditions): conditions for conditions in further}}


def latency_name(conditions: Conditions) -> str:
    """The name of the cost that is a latency at further conditions, such as latency_ms@8x128-1t-fp32-cpu."""
    shape = f"{conditions.batch_size}x{conditions.sequence_length}"
    return f"{LATENCY}@{shape}-{conditions.num_threads}t-{conditions.precision}-{conditions.provider}"


def cost_function(recipe: Recipe, dimensions: Dimensions, tables: Mapping[str, LatencyTable]) -> CostOf:
    """What prices the children of a run: parameters and latencies, and MACs and size where they are budgeted.

    Parameters and MACs are exact; the file's size and the latencies are predicted.
    """
    main = latency_conditions(recipe)[LATENCY]
    budget = recipe.budget

    def cost_of(child: Child) -> Cost:
        architecture = Architecture(dimensions, child)
        values: dict[str, float | tuple[float, ...]] = {"num_parameters": architecture.num_parameters}
        if budget.macs is not None:
            values["macs"] = architecture.macs(main.sequence_length, main.batch_size)
        if budget.size_mib is not None:
            values["size_mib"] = estimate_size_mib(architecture, main.precision)
        values |= {name: table.sums_ms(architecture) for name, table in tables.items()}
        return Cost.of(**values)

    return cost_of


def speedups(recipe: Recipe) -> dict[str, Ends]:
    """The least and the most speedup over the teacher that the recipe asks for, by the latency's name."""
    asked = {name: _speedup_ends(budget.speedup) for name, budget in _latency_budgets(recipe).items()}
    return {name: found for name, found in asked.items() if found != (None, None)}


def wanted_budgets(recipe: Recipe, teacher_ms: Mapping[str, float]) -> Budgets:
    """The recipe's budgets, given the teacher's latency by name wherever a speedup is asked for."""
    budget = recipe.budget
    limits: dict[str, Ends] = {
        name: ends(getattr(budget, name)) for name in ("num_parameters", "macs", "size_mib")
    }
    limits |= {name: ends(latency.latency_ms) for name, latency in _latency_budgets(recipe).items()}
    limits |= {name: speedup_limits(asked, teacher_ms[name]) for name, asked in speedups(recipe).items()}
    return Budgets.of(**limits)


def speedup_limits(speedup: Ends, teacher_ms: float) -> Ends:
    """The least and the most milliseconds that are the least and the most speedup over the teacher."""
    least, most = speedup
    return teacher_ms / most if most else None, teacher_ms / least if least else None


def _latency_budgets(recipe: Recipe) -> dict[str, BudgetSection | LatencyBudget]:
    budgets: list[BudgetSection | LatencyBudget] = [recipe.budget, *recipe.budget.latencies]
    return dict(zip(latency_conditions(recipe), budgets, strict=True))


def _speedup_ends(limit: Limit | None) -> Ends:
    """As `ends`, but a number is the least: a speedup is something to have much of."""
    least, most = ends(limit)
    return (most, None) if isinstance(limit, int | float) else (least, most)
