"""The search: every child that was evaluated, the finalists that were timed whole, and the space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertcompress.report.figures.search import search_figure
from bertcompress.report.numbers import count, number, short_count
from bertcompress.report.plot import Plot
from bertcompress.report.section import Block, Cell, Column, Section, Table, Words

CAPTION = "Every child that the search evaluated, against its latency and its size"
FINALIST_COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("finalist", lambda row: str(row.get("architecture", "")), is_text=True),
    Column("predicted, ms", lambda row: number(row.get("predicted_ms"))),
    Column("measured, ms", lambda row: number(row.get("measured_ms"))),
    Column("fits", lambda row: Cell("yes", "good") if row.get("fits") else Cell("no", "bad")),
]
CHOICE_COLUMNS: list[Column[tuple[str, str]]] = [
    Column("position", lambda row: row[0], is_text=True),
    Column("operators to choose from", lambda row: row[1], is_text=True),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Search"."""
    blocks = tuple(_blocks(data))
    return Section("Search", blocks) if blocks else None


def _blocks(data: Mapping[str, Any]) -> Iterator[Block]:
    search = data.get("search") or {}
    if search:
        yield Words(_words(search, data.get("space") or {}), "quiet")
        yield Plot("search", CAPTION, lambda: search_figure(data))
    if search.get("finalists"):
        yield Table.of(FINALIST_COLUMNS, search["finalists"])
    if choices := _choices(data.get("space") or {}):
        yield Table.of(CHOICE_COLUMNS, choices)


def _words(search: Mapping[str, Any], space: Mapping[str, Any]) -> str:
    by = f" by {search['searcher']}" if search.get("searcher") else ""
    of = f", of {short_count(space['num_children'])} in the space" if space.get("num_children") else ""
    winner = f" Winner: {search['winner']}." if search.get("winner") else ""
    return f"{count(len(search.get('evaluated') or []))} children evaluated{by}{of}.{winner}"


def _choices(space: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the operators that each position may have, runs of equal positions together."""
    runs: list[tuple[int, int, tuple[str, ...]]] = []
    for position, names in enumerate(space.get("choices") or [], start=1):
        choice = tuple(str(name) for name in names)
        if runs and runs[-1][2] == choice:
            runs[-1] = (runs[-1][0], position, choice)
        else:
            runs.append((position, position, choice))
    return [
        (str(first) if first == last else f"{first} to {last}", ", ".join(names))
        for first, last, names in runs
    ]
