"""The exported files of teacher, baseline and winner side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.models import ModelRow, metric_name, model_rows
from bertcompress.report.numbers import count, number, percent, short_count, times
from bertcompress.report.section import Cell, Column, Section, Table, Words


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Models"."""
    rows = model_rows(data)
    if not rows:
        return None
    table = Table.of(_columns(metric_name(data)), rows, highlight=lambda row: row.role == "winner")
    note = Words("Speedup is over the teacher at the same precision.", "quiet")
    return Section("Models", (table, note), in_summary=True)


def _columns(metric: str) -> list[Column[ModelRow]]:
    return [
        Column("model", _role, is_text=True),
        Column("precision", lambda row: row.precision, is_text=True),
        Column("size, MiB", lambda row: number(row.size_mib, 1)),
        Column(f"test {metric}", lambda row: percent(row.metric)),
        Column("p50, ms", lambda row: number(row.p50_ms)),
        Column("speedup", lambda row: times(row.speedup)),
        Column("params", _parameters),
        Column("MACs", lambda row: short_count(row.macs)),
        Column("advice", _advice, is_text=True),
    ]


def _role(row: ModelRow) -> Cell:
    return Cell(row.role, "strong" if row.role == "winner" else "plain", row.architecture)


def _parameters(row: ModelRow) -> Cell:
    return Cell(short_count(row.num_parameters), hover=count(row.num_parameters))


def _advice(row: ModelRow) -> Cell:
    return Cell(row.advice, "good" if row.recommended else "quiet")
