"""What a run came to: each budget with what was reached, and whether all were kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.measure import Conditions
from bertcompress.pipeline.costs import speedup_limits
from bertcompress.pipeline.run import Run
from bertcompress.search import Budget


def budget_rows(
    run: Run, model: Mapping[str, Any], timed: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Each budget with what the model's exported file reached; the winner's are the run's contract.

    `timed` holds the summaries of all files by latency. A speedup is held against the teacher's latency of
    the same interleaved measurement, so that a machine that is slower today than when the limit was set does
    not count against the file.
    """
    rows = []
    for budget in run.budgets.limits:
        conditions = run.latency_conditions.get(budget.name)
        value = _reached(run, model, budget.name, timed)
        if conditions is not None and budget.name in run.latency["speedups"]:
            teacher_ms = timed[budget.name][f"teacher/{conditions.precision}"]["p50_ms"]
            least, most = speedup_limits(run.latency["speedups"][budget.name], teacher_ms)
            budget = Budget(budget.name, most, least)
        rows.append(_budget_row(budget, value, conditions))
    return rows


def _reached(
    run: Run, model: Mapping[str, Any], name: str, timed: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> float:
    """What a budgeted cost is of the exported file."""
    if name in ("num_parameters", "macs"):
        return int(model[name])
    if name == "size_mib":
        return float(model["files"][run.conditions.precision]["size_mib"])
    file = f"{model['role']}/{run.latency_conditions[name].precision}"
    return float(timed[name][file]["p50_ms"])


def _budget_row(budget: Budget, value: float, conditions: Conditions | None) -> dict[str, Any]:
    return {
        "name": budget.name,
        "limit": budget.upper,
        "least": budget.lower,
        "value": value,
        "met": budget.overshoot(value) == 0.0,
        "conditions": None if conditions is None else str(conditions),
    }


def budgets_met(data: Mapping[str, Any]) -> bool:
    """Whether the shipped winner keeps every budget."""
    return all(budget["met"] for budget in data["budgets"])
