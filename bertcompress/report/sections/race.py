"""The race: who entered, how far each entrant was trained, and in which order they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertcompress.report.models import metric_name
from bertcompress.report.numbers import number, percent
from bertcompress.report.section import Column, Section, Table, Words

NOTE = (
    "Entrants train in rungs, each for its share of a full training, and the worse of them leave after it. "
    "The score, lower is better, is the mean of the divergence from the teacher and the cross entropy with "
    "the labels on the validation split."
)


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Race"."""
    placings: Sequence[Mapping[str, Any]] = (data.get("race") or {}).get("placings") or []
    if not placings:
        return None
    table = Table.of(_columns(metric_name(data)), list(enumerate(placings, start=1)))
    return Section("Race", (Words(NOTE, "quiet"), table))


def _columns(metric: str) -> list[Column[tuple[int, Mapping[str, Any]]]]:
    return [
        Column("place", lambda row: str(row[0])),
        Column("entrant", lambda row: str(row[1]["architecture"]), is_text=True),
        Column("proposed as", lambda row: str(row[1]["origin"]), is_text=True),
        Column("trained for", lambda row: f"{row[1]['share']:.0%}"),
        Column("score", lambda row: number(row[1]["score"])),
        Column("agreement", lambda row: percent(row[1]["metrics"]["validation"]["agreement"])),
        Column(f"validation {metric}", lambda row: percent(row[1]["metrics"]["validation"].get(metric))),
        Column(f"test {metric}", lambda row: percent(row[1]["metrics"]["test"].get(metric))),
    ]
