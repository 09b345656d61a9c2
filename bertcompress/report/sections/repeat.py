"""What it takes to make the run again: command, seed, time by stage, machine, versions, recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from bertcompress.report.json import strict_json
from bertcompress.report.numbers import MISSING, duration
from bertcompress.report.section import Block, Cell, Column, Preformatted, Section, Table, Words


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "To repeat it"."""
    blocks = tuple(_blocks(data))
    return Section("To repeat it", blocks) if blocks else None


def _blocks(data: Mapping[str, Any]) -> Iterator[Block]:
    if data.get("command"):
        yield Preformatted(str(data["command"]))
    if words := _words(data):
        yield Words(words, "quiet")
    if data.get("stages"):
        yield _stages(data["stages"])
    for title in ("machine", "versions"):
        if data.get(title):
            yield _facts(title, data[title])
    if data.get("recipe"):
        recipe = yaml.safe_dump(strict_json(data["recipe"]), sort_keys=False, allow_unicode=True)
        yield Preformatted(recipe, summary="The resolved recipe")


def _words(data: Mapping[str, Any]) -> str:
    seed = [] if data.get("seed") is None else [f"Seed {data['seed']}."]
    made = [f"Made {data['created']}."] if data.get("created") else []
    return " ".join(seed + made)


def _stages(stages: list[Mapping[str, Any]]) -> Table:
    """Return the time of each stage, then of all together."""
    times = [(str(stage.get("name")), duration(stage.get("seconds"))) for stage in stages]
    times.append(("all", duration(sum(stage.get("seconds") or 0 for stage in stages))))
    columns: list[Column[tuple[str, str]]] = [
        Column("stage", lambda row: Cell(row[0], "strong" if row[0] == "all" else "plain"), is_text=True),
        Column("time", lambda row: Cell(row[1], "strong" if row[0] == "all" else "plain")),
    ]
    return Table.of(columns, times)


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    columns: list[Column[tuple[str, Any]]] = [
        Column(title, lambda fact: fact[0], is_text=True),
        Column("", lambda fact: MISSING if fact[1] is None else str(fact[1]), is_text=True),
    ]
    return Table.of(columns, facts.items())
