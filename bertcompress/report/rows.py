"""What every form of the report prints: the rows of its tables and the wording of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MISSING = "-"
UNITS = {"latency_ms": "ms", "num_parameters": "parameters", "size_mib": "MiB", "macs": "MACs"}
LABELS = {"latency_ms": "latency", "num_parameters": "parameters", "size_mib": "file size", "macs": "MACs"}
PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
FEW_REPEATS = f'"{MISSING}" under a percentile: too few repeats to support it.'


@dataclass(frozen=True)
class ModelRow:
    """One exported file of one model; `speedup` is over the teacher at the same precision."""

    role: str
    architecture: str
    num_parameters: int | None
    macs: int | None
    precision: str
    size_mib: float | None
    metric: float | None
    p50_ms: float | None
    speedup: float | None
    recommended: bool
    reason: str | None

    @property
    def advice(self) -> str:
        """Whether to serve this file, and why not."""
        return "recommended" if self.recommended else (self.reason or "not recommended")


def metric_name(data: Mapping[str, Any]) -> str:
    """The task's metric, accuracy unless the data says otherwise."""
    return str((data.get("task") or {}).get("metric_name") or "accuracy")


def finite(value: Any) -> float | None:
    """The number, or None where there is none to print."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def model_rows(data: Mapping[str, Any]) -> list[ModelRow]:
    """A row for every precision of every model, in the order of the data."""
    models = data.get("models") or []
    teacher: Mapping[str, Any] = next((model for model in models if model.get("role") == "teacher"), {})
    teacher_files = teacher.get("files") or {}
    return [
        _model_row(model, precision, file or {}, teacher_files.get(precision) or {}, metric_name(data))
        for model in models
        for precision, file in (model.get("files") or {}).items()
    ]


def _model_row(
    model: Mapping[str, Any],
    precision: str,
    file: Mapping[str, Any],
    teacher_file: Mapping[str, Any],
    metric: str,
) -> ModelRow:
    p50_ms, teacher_ms = finite(file.get("p50_ms")), finite(teacher_file.get("p50_ms"))
    return ModelRow(
        role=str(model.get("role", "")),
        architecture=str(model.get("architecture", "")),
        num_parameters=model.get("num_parameters"),
        macs=model.get("macs"),
        precision=precision,
        size_mib=finite(file.get("size_mib")),
        metric=finite(file.get(f"test_{metric}", file.get("test_accuracy"))),
        p50_ms=p50_ms,
        speedup=teacher_ms / p50_ms if teacher_ms and p50_ms else None,
        recommended=bool(file.get("recommended")),
        reason=file.get("reason"),
    )


def budget_limit(data: Mapping[str, Any], name: str) -> float | None:
    """The most that the budget `name` allows, or None where the run had no such limit."""
    return finite(_budget(data, name).get("limit"))


def budget_ends(data: Mapping[str, Any], name: str) -> list[float]:
    """The least and the most that the budget `name` allows, as far as there are such limits."""
    found = (finite(_budget(data, name).get(end)) for end in ("least", "limit"))
    return [end for end in found if end is not None]


def _budget(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    named = (budget for budget in data.get("budgets") or [] if budget.get("name") == name)
    return next(named, {})


def budget_words(budget: Mapping[str, Any]) -> str:
    """One budget in words: "latency_ms: 1.21 of at most 1.5 ms, met (batch 1, ...)"."""
    conditions = f" ({budget['conditions']})" if budget.get("conditions") else ""
    reached = f"{budget_name(budget)}: {budget_value(budget)} of {budget_limits(budget)}"
    return f"{reached}, {'met' if budget.get('met') else 'broken'}{conditions}"


def budget_name(budget: Mapping[str, Any]) -> str:
    """The cost that is limited; a latency at further conditions, latency_ms@..., is latency_ms too."""
    return str(budget.get("name", "")).partition("@")[0]


def budget_label(budget: Mapping[str, Any]) -> str:
    """The limited cost as a heading."""
    return LABELS.get(budget_name(budget), budget_name(budget))


def budget_value(budget: Mapping[str, Any]) -> str:
    """What the exported file reached, without its unit."""
    return quantity(budget_name(budget), budget.get("value"))


def budget_limits(budget: Mapping[str, Any], *, with_unit: bool = True) -> str:
    """The limits in words with their unit: "at most 1.5 ms", "2 to 4 MiB"."""
    name = budget_name(budget)
    most, least = quantity(name, budget.get("limit")), quantity(name, budget.get("least"))
    if budget.get("least") is None:
        words = f"at most {most}"
    else:
        words = f"at least {least}" if budget.get("limit") is None else f"{least} to {most}"
    return f"{words} {UNITS.get(name, '') if with_unit else ''}".rstrip()


def quantity(name: str, value: Any) -> str:
    """A budgeted number as its kind is read: counts with separators, the rest with three digits or so."""
    return count(value) if name.startswith("num_") or name == "macs" else number(value)


def number(value: Any, digits: int | None = None) -> str:
    """A decimal number; without `digits`, as many as keep three significant ones."""
    known = finite(value)
    if known is None:
        return MISSING
    if digits is None:
        size = abs(known)
        digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{known:,.{digits}f}"


def count(value: Any) -> str:
    """A whole number with separators."""
    known = finite(value)
    return MISSING if known is None else f"{known:,.0f}"


def short_count(value: Any) -> str:
    """A large count with three digits: 22.7M, 1.21G."""
    known = finite(value)
    if known is None:
        return MISSING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(known) >= size:
            return f"{known / size:.3g}{letter}"
    return f"{known:.0f}"


def percent(value: Any) -> str:
    """A share as a percentage with one decimal."""
    known = finite(value)
    return MISSING if known is None else f"{100 * known:.1f}%"


def times(value: Any) -> str:
    """A ratio as a multiple."""
    known = finite(value)
    return MISSING if known is None else f"{known:.1f}×"


def duration(value: Any) -> str:
    """Seconds as a person reads them."""
    known = finite(value)
    if known is None:
        return MISSING
    minutes, seconds = divmod(round(known), 60)
    return f"{known:.1f} s" if known < 60 else f"{minutes} min {seconds:02d} s"


def benchmark_notes(data: Mapping[str, Any]) -> list[str]:
    """What to know of the benchmark's table: its missing percentiles, and why it calls rows noisy."""
    noise = (data.get("benchmark") or {}).get("noise") or {}
    return [FEW_REPEATS, *(f"The machine was not quiet: {reason}." for reason in noise.get("reasons") or [])]


def operator_costs(fitted: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """What a latency table holds, as (part, milliseconds): the rest of a network first, then operators."""
    costs = [("embeddings and head", finite(fitted.get("intercept_ms")))]
    costs += [(name, finite(ms)) for name, ms in sorted((fitted.get("coefficients_ms") or {}).items())]
    if streaming := fitted.get("streaming"):
        beyond = f"each million weights of operators beyond {streaming['cached'] / 1e6:.2f} million"
        costs.append((beyond, finite(streaming["ms_per_million"])))
    return costs


def heldout_words(fitted: Mapping[str, Any]) -> str:
    """How far the latency table is off on whole networks that it was not fitted on."""
    error = finite(fitted.get("mape_percent"))
    if error is None:
        return "The table was not checked on held-out networks."
    kendall = number(fitted.get("kendall"), 2)
    networks = count(fitted.get("num_heldout"))
    noise = finite(fitted.get("noise_percent"))
    clock = "" if noise is None else f" (the clock alone: {noise:.1f}%)"
    told = f"mean error {error:.1f}%{clock}, Kendall rank correlation {kendall}"
    return f"On {networks} held-out networks: {told}."
