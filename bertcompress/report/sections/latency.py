"""What the exported files take, and what the latency table says that each operator takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertcompress.report.figures.latency import latency_figure
from bertcompress.report.numbers import count, finite, number
from bertcompress.report.plot import Plot
from bertcompress.report.section import Block, Column, Heading, Section, Table, Words

OPERATOR_COLUMNS: list[Column[tuple[str, float | None]]] = [
    Column("operator", lambda row: row[0], is_text=True),
    Column("ms", lambda row: number(row[1], 3)),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Latency"."""
    blocks = tuple(_blocks(data))
    return Section("Latency", blocks) if blocks else None


def _blocks(data: Mapping[str, Any]) -> Iterator[Block]:
    if data.get("models"):
        yield Plot("latency", _caption(data), lambda: latency_figure(data))
    fitted = data.get("latency_table") or {}
    if fitted.get("coefficients_ms"):
        yield Heading("What an operator costs here")
        yield Words(f"Fitted on whole exported networks. {heldout_words(fitted)}", "quiet")
        yield Table.of(OPERATOR_COLUMNS, operator_costs(fitted))


def _caption(data: Mapping[str, Any]) -> str:
    limits = [budget for budget in data.get("budgets") or [] if budget.get("name") == "latency_ms"]
    conditions = "".join(f" ({budget['conditions']})" for budget in limits if budget.get("conditions"))
    return f"Median latency of the exported files{conditions}"


def operator_costs(fitted: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Return the milliseconds of what all networks have, then of each operator."""
    costs = [("embeddings and head", finite(fitted.get("intercept_ms")))]
    costs += [(name, finite(ms)) for name, ms in sorted((fitted.get("coefficients_ms") or {}).items())]
    if streaming := fitted.get("streaming"):
        beyond = f"each million weights of operators beyond {streaming['cached'] / 1e6:.2f} million"
        costs.append((beyond, finite(streaming["ms_per_million"])))
    return costs


def heldout_words(fitted: Mapping[str, Any]) -> str:
    """Say how far the latency table is off on whole networks that it was not fitted on."""
    error = finite(fitted.get("mape_percent"))
    if error is None:
        return "The table was not checked on held-out networks."
    kendall = number(fitted.get("kendall"), 2)
    networks = count(fitted.get("num_heldout"))
    noise = finite(fitted.get("noise_percent"))
    clock = "" if noise is None else f" (the clock alone: {noise:.1f}%)"
    told = f"mean error {error:.1f}%{clock}, Kendall rank correlation {kendall}"
    return f"On {networks} held-out networks: {told}."
