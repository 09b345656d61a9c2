"""All that a user could serve instead of the shipped model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.contenders import Contender, alternatives
from bertcompress.report.models import metric_name
from bertcompress.report.numbers import MISSING, count, number, percent, short_count
from bertcompress.report.section import Cell, Column, Section, Table, Words

NOTE = "Intervals are over test rows, in percent. A model without a latency was not exported and timed."


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Alternatives"."""
    rows = alternatives(data)
    if not rows:
        return None
    table = Table.of(_columns(metric_name(data)), rows, highlight=lambda row: row.shipped)
    return Section("Alternatives", (table, Words(NOTE, "quiet")), in_summary=True)


def _columns(metric: str) -> list[Column[Contender]]:
    return [
        Column("model", _name, is_text=True),
        Column("kind", lambda row: row.kind, is_text=True),
        Column(metric, lambda row: percent(row.metric)),
        Column("95% interval", _interval),
        Column("p50, ms", lambda row: number(row.p50_ms)),
        Column("size, MiB", lambda row: number(row.size_mib, 1)),
        Column("params", _parameters),
        Column("fits", lambda row: Cell("yes", "good") if row.within_budgets else Cell("no", "bad")),
        Column("note", _note, is_text=True),
    ]


def _name(row: Contender) -> Cell:
    return Cell(row.name, "strong" if row.shipped else "plain", row.architecture)


def _interval(row: Contender) -> str:
    return MISSING if row.interval is None else "-".join(number(100 * end, 1) for end in row.interval)


def _parameters(row: Contender) -> Cell:
    return Cell(short_count(row.num_parameters), hover=count(row.num_parameters))


def _note(row: Contender) -> str:
    return "; ".join(filter(None, ("shipped" if row.shipped else "", row.note)))
