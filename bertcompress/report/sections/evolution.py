"""The evolution of a space: which operators were dropped, when and why, and which save MACs but cost time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from bertcompress.report.figures.evolution import evolution_figure
from bertcompress.report.numbers import MISSING, count, number, percent, short_count
from bertcompress.report.plot import Plot
from bertcompress.report.section import Block, Column, Heading, Section, Table, Words

LATENCY = "latency_ms"
CAPTION = "Evolution of the space: fitness of a position's operators, 1 their mean, a cross: dropped"


@dataclass(frozen=True)
class Change:
    """A candidate of a position that was dropped in a generation, or spared as the reference's."""

    generation: int
    position: int
    candidate: Mapping[str, Any]
    successor: Mapping[str, Any] | None
    why: str


CHANGE_COLUMNS: list[Column[Change]] = [
    Column("operator", lambda change: change.candidate["operator"], is_text=True),
    Column("generation", lambda change: count(change.generation)),
    Column("position", lambda change: count(change.position)),
    Column("fitness", lambda change: number(change.candidate["fitness"], 2)),
    Column("replaced by", lambda change: _successor(change.successor), is_text=True),
    Column("why", lambda change: change.why, is_text=True),
]
SPACE_COLUMNS: list[Column[tuple[int, list[str], list[str]]]] = [
    Column("position", lambda row: count(row[0])),
    Column("before", lambda row: ", ".join(row[1]), is_text=True),
    Column("after", lambda row: ", ".join(row[2]), is_text=True),
]
SAVING_COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("operator", lambda saving: saving["operator"], is_text=True),
    Column("instead of", lambda saving: saving["instead_of"], is_text=True),
    Column("MACs saved", lambda saving: percent(saving["macs_saved"])),
    Column("time lost", lambda saving: percent(saving["time_lost"])),
    Column("ms", lambda saving: " and ".join(number(ms, 3) for ms in saving["ms"])),
    Column("at positions", lambda saving: ", ".join(count(place + 1) for place in saving["positions"])),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Evolution of the space"."""
    evolution = data.get("evolution") or {}
    return Section("Evolution of the space", tuple(_blocks(evolution))) if evolution else None


def _blocks(evolution: Mapping[str, Any]) -> Iterator[Block]:
    yield Words(_evolution_words(evolution))
    yield Plot("evolution", CAPTION, lambda: evolution_figure(evolution))
    if changes := list(_changes(evolution)):
        yield Table.of(CHANGE_COLUMNS, changes)
    yield Heading("The evolved space")
    yield Words(f"As a recipe: {evolution['recipe']}, in the run's folder.")
    spaces = zip(evolution["before"], evolution["after"], strict=True)
    yield Table.of(SPACE_COLUMNS, [(place, *space) for place, space in enumerate(spaces, start=1)])
    yield Heading("Fewer MACs, more time")
    yield from map(Words, _saving_words(evolution))
    if evolution["false_savings"]:
        yield Table.of(SAVING_COLUMNS, evolution["false_savings"])


def _changes(evolution: Mapping[str, Any]) -> Iterator[Change]:
    for generation in evolution["generations"]:
        for place, position in enumerate(generation["positions"], start=1):
            for candidate, successor in _with_successors(position):
                why = _why(evolution, candidate)
                yield Change(generation["generation"], place, candidate, successor, why)


def _successor(successor: Mapping[str, Any] | None) -> str:
    return MISSING if successor is None else f"{successor['operator']} (of {successor['parent']})"


def _with_successors(position: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    lost = [each for each in position["candidates"] if each["fate"] in ("unfit", "unaffordable")]
    yield from zip_longest(lost, position["added"])
    yield from ((each, None) for each in position["candidates"] if each["fate"] == "reference")


def _why(evolution: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    if candidate["fate"] == "unaffordable":
        return "in no child within the budgets"
    words = "low fitness" if candidate["fate"] == "unfit" else "low, but the reference's: kept"
    rival = candidate["rival"]
    if rival is None:
        return words
    costs = {row["operator"]: row for row in evolution["operators"]}
    ours, theirs = costs[candidate["operator"]], costs[rival]
    # Records of before the prices by position have the operators' own costs only.
    saved = candidate["ms"] - candidate["rival_ms"] if "ms" in candidate else ours[LATENCY] - theirs[LATENCY]
    words += f"; {rival} is as fit for {number(saved, 3)} ms less"
    if ours["macs"] < theirs["macs"]:
        words += f", and has {percent(theirs['macs'] / ours['macs'] - 1)} more MACs"
    return words


def _evolution_words(evolution: Mapping[str, Any]) -> str:
    """Say what evolved, and what never left the space."""
    before, after = evolution["num_children"]
    first, last = evolution["share_within"]
    settings = evolution["settings"]
    return (
        f"{count(settings['generations'])} generations of {count(settings['steps'])} steps took the space "
        f"from {count(before)} to {count(after)} children, and the share of those within the budgets "
        f"from {percent(first)} to {percent(last)}. The reference {'-'.join(evolution['reference'])} "
        f"is one of them, and {'-'.join(evolution['feasible_child'])} fits the budgets. Fitness is relative: "
        "1 is the mean of the position."
    )


def _saving_words(evolution: Mapping[str, Any]) -> list[str]:
    """Say under which conditions that holds, and how sure it is."""
    error, found = evolution["table"]["error_ms"], evolution["false_savings"]
    margin = "of unknown error" if error is None else f"beyond its error of {number(error, 3)} ms on a chain"
    measured = f"on this machine at {evolution['conditions']}, by a table of operator costs, {margin}"
    if not found:
        return [f"No operator takes longer than a rival of more MACs {measured}."]
    macs = {row["operator"]: row["macs"] for row in evolution["operators"]}
    worst = found[0]
    return [
        f"{count(len(found))} pair{'s' if len(found) > 1 else ''} {measured}.",
        f"The worst: {worst['operator']} has {short_count(macs[worst['operator']])} MACs against "
        f"{short_count(macs[worst['instead_of']])} of {worst['instead_of']}, and takes "
        f"{percent(worst['time_lost'])} longer.",
    ]
