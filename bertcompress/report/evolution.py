"""What every form of the report says of a space's evolution: what was dropped, when and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bertcompress.report.rows import MISSING, count, number, percent, short_count

CHANGE_HEADINGS = ("operator", "generation", "position", "fitness", "replaced by", "why")
SPACE_HEADINGS = ("position", "before", "after")
SAVING_HEADINGS = ("operator", "instead of", "MACs saved", "time lost", "ms", "at positions")
LATENCY = "latency_ms"


def evolution_sections(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sections about the evolution: title, figure, headings, rows, words and warnings."""
    evolution = data.get("evolution") or {}
    if not evolution:
        return []
    sections = [
        ("Evolution of the space", "evolution", CHANGE_HEADINGS, change_rows, evolution_words),
        ("The evolved space", None, SPACE_HEADINGS, space_rows, space_words),
        ("Fewer MACs, more time", None, SAVING_HEADINGS, saving_rows, saving_words),
    ]
    return [
        {
            "title": title,
            "figure": figure,
            "headings": headings,
            "rows": rows_of(evolution),
            "words": words_of(evolution),
            "warnings": [],
        }
        for title, figure, headings, rows_of, words_of in sections
    ]


def change_rows(evolution: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for every operator that was dropped, or spared as the reference's, under CHANGE_HEADINGS."""
    return [
        (
            candidate["operator"],
            count(generation["generation"]),
            count(place),
            number(candidate["fitness"], 2),
            MISSING if successor is None else f"{successor['operator']} (of {successor['parent']})",
            _why(evolution, candidate),
        )
        for generation in evolution["generations"]
        for place, position in enumerate(generation["positions"], start=1)
        for candidate, successor in _with_successors(position)
    ]


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
    words += f"; {rival} is as fit for {number(ours[LATENCY] - theirs[LATENCY], 3)} ms less"
    if ours["macs"] < theirs["macs"]:
        words += f", and has {percent(theirs['macs'] / ours['macs'] - 1)} more MACs"
    return words


def evolution_words(evolution: Mapping[str, Any]) -> list[str]:
    """What evolved, and what never left the space."""
    before, after = evolution["num_children"]
    first, last = evolution["share_within"]
    settings = evolution["settings"]
    return [
        f"{count(settings['generations'])} generations of {count(settings['steps'])} steps took the space "
        f"from {count(before)} to {count(after)} children, and the share of those within the budgets "
        f"from {percent(first)} to {percent(last)}. The reference {'-'.join(evolution['reference'])} "
        f"is one of them, and {'-'.join(evolution['feasible_child'])} fits the budgets. Fitness is relative: "
        "1 is the mean of the position."
    ]


def space_rows(evolution: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a position under SPACE_HEADINGS."""
    pairs = zip(evolution["before"], evolution["after"], strict=True)
    return [
        (count(place), ", ".join(before), ", ".join(after))
        for place, (before, after) in enumerate(pairs, start=1)
    ]


def space_words(evolution: Mapping[str, Any]) -> list[str]:
    """Where the evolved recipe lies."""
    return [f"As a recipe: {evolution['recipe']}, in the run's folder."]


def saving_rows(evolution: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for every pair in which fewer MACs take longer, under SAVING_HEADINGS."""
    return [
        (
            saving["operator"],
            saving["instead_of"],
            percent(saving["macs_saved"]),
            percent(saving["time_lost"]),
            " and ".join(number(ms, 3) for ms in saving["ms"]),
            ", ".join(count(position + 1) for position in saving["positions"]),
        )
        for saving in evolution["false_savings"]
    ]


def saving_words(evolution: Mapping[str, Any]) -> list[str]:
    """At which conditions, and how sure it is."""
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


def print_evolution(evolution: Mapping[str, Any], console: Console) -> None:
    """Print the evolution's tables, each with its words."""
    for section in evolution_sections({"evolution": evolution}):
        table = Table(title=section["title"], title_justify="left")
        for heading in section["headings"]:
            table.add_column(heading)
        for row in section["rows"]:
            table.add_row(*(Text(cell) for cell in row))
        if section["rows"]:
            console.print(table)
        for words in section["words"]:
            console.print(Text(words))
