"""The best-scored children, exported and measured whole at every condition, before one of them wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bertcompress.errors import BudgetError
from bertcompress.pipeline.costs import LATENCY
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.timing import measure_whole
from bertcompress.search import Budget, Budgets, Cost, Evaluation
from bertcompress.search.budget import format_value
from bertcompress.space import Architecture, Child

# A winner keeps so far from a latency's limit where some finalist does: the next clock reads a little more.
CLEAR_SHARE = 0.01
# Where none of the finalists fits, so many more are measured, in turns of as many.
MOST_TURNS = 4


def measure_finalists(run: Run, evaluations: Sequence[Evaluation], budgets: Budgets) -> list[dict[str, Any]]:
    """The best-scored children with their measured costs, best score first; more while none of them fits."""
    best = sorted(evaluations, key=lambda e: (e.score, e.cost.values, e.child))
    number = run.recipe.search.num_finalists
    finalists: list[dict[str, Any]] = []
    for start in range(0, min(len(best), MOST_TURNS * number), number):
        turn = best[start : start + number]
        costs = measured_costs(run, [each.child for each in turn], [each.cost for each in turn])
        finalists += [_row(each, cost, budgets) for each, cost in zip(turn, costs, strict=True)]
        if any(finalist["fits"] for finalist in finalists):
            break
    return finalists


def choose_winner(finalists: Sequence[dict[str, Any]], budgets: Budgets) -> dict[str, Any]:
    """The best-scored finalist that fits when measured, one well clear of the limits before all others.

    Raises:
        BudgetError: none fits.
    """
    fitting = [finalist for finalist in finalists if finalist["fits"]]
    if not fitting:
        raise BudgetError(none_fits(finalists, budgets, "search.num_finalists"))
    return next((finalist for finalist in fitting if finalist["clear"]), fitting[0])


def none_fits(rows: Sequence[dict[str, Any]], budgets: Budgets, key: str) -> str:
    """Return why no row of measured costs fits, with the key of the recipe that asks for more rows."""
    asked = ", ".join(f"{budget.name} {budget}" for budget in budgets.limits)
    found = "; ".join(
        f"{row['architecture']} "
        + ", ".join(
            f"{budget.name} {format_value(budget.name, row['measured'][budget.name])}"
            for budget in budgets.limits
        )
        for row in rows
    )
    return (
        f"search: predicted within the budgets ({asked}), but measured whole outside: {found}; "
        f"raise {key} or the budget"
    )


def measured_costs(run: Run, children: Sequence[Child], costs: Sequence[Cost]) -> list[Cost]:
    """Return the costs of canonical children, every predicted latency replaced by the whole network's."""
    architectures = [Architecture(run.space.dimensions, child) for child in children]
    measured = {
        name: measure_whole(architectures, conditions) for name, conditions in run.latency_conditions.items()
    }
    return [
        Cost.of(**cost.to_dict() | {name: by_network[each.name] for name, by_network in measured.items()})
        for each, cost in zip(architectures, costs, strict=True)
    ]


def is_clear(budgets: Budgets, measured: Cost) -> bool:
    """Whether measured costs stay clear of every latency's limit by the margin."""
    return _clear(budgets).fits(measured)


def _row(evaluation: Evaluation, measured: Cost, budgets: Budgets) -> dict[str, Any]:
    return {
        "architecture": evaluation.name,
        "placed": [operator.name for operator in evaluation.placed],
        "score": evaluation.score,
        "predicted_ms": evaluation.cost[LATENCY],
        "measured_ms": measured[LATENCY],
        "predicted": evaluation.cost.to_dict(),
        "measured": measured.to_dict(),
        "fits": budgets.fits(measured),
        "clear": is_clear(budgets, measured),
    }


def _clear(budgets: Budgets) -> Budgets:
    """The budgets with every latency's most lowered by the margin, though not below its least."""
    return Budgets(
        tuple(
            Budget(each.name, max(each.upper * (1 - CLEAR_SHARE), each.lower or 0.0), each.lower)
            if each.upper is not None and each.name.startswith(LATENCY)
            else each
            for each in budgets.limits
        )
    )
