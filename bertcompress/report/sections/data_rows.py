"""The data: how many rows each split has, and what was done to get them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.models import num_rows
from bertcompress.report.numbers import count
from bertcompress.report.section import Column, Section, Table

COLUMNS: list[Column[tuple[str, int]]] = [
    Column("split", lambda row: row[0], is_text=True),
    Column("rows", lambda row: count(row[1])),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Data"."""
    rows = num_rows(data)
    return Section("Data", (Table.of(COLUMNS, rows.items()),)) if rows else None
