"""What every form of the report says of a supernet's interference and ranking: rows of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bertcompress.report.rows import MISSING, count, number, percent

RANKING_HEADINGS = (
    "score", "Kendall", "Spearman", "Pearson", "top-1 regret", "top-3 regret", "supernet - this"
)  # fmt: skip
INTERFERENCE_HEADINGS = ("", "before training", "after training")
SIMILARITY_WORDS = {"input": "inputs", "output": "outputs", "output_gradient": "output gradients"}


def interval(estimate: Mapping[str, Any] | None) -> str:
    """An estimate with its interval: "0.45 [0.30, 0.58]"."""
    if not estimate:
        return MISSING
    value, low, high = (number(estimate.get(key), 2) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def ranking_rows(ranking: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for the supernet and each baseline under RANKING_HEADINGS, best Kendall first among baselines."""
    if not ranking:
        return []
    rows = [("supernet", ranking["supernet"]), *((row["name"], row) for row in ranking["baselines"])]
    return [
        (
            name,
            interval(row["kendall"]),
            number(row["spearman"], 2),
            number(row["pearson"], 2),
            *(number(row["regret"][k], 3) for k in ("1", "3")),
            interval(row.get("difference")),
        )
        for name, row in rows
    ]


def ranking_words(ranking: Mapping[str, Any]) -> list[str]:
    """The verdict, then how the numbers are to be read."""
    if not ranking:
        return []
    ceiling = ranking.get("ceiling")
    seeds = f"{count(ranking['num_seeds'])} seed" + ("s" if ranking["num_seeds"] != 1 else "")
    said = "no ceiling from one seed" if not ceiling else f"seed to seed, Kendall {interval(ceiling)}"
    chance = number(ranking["supernet"]["chance_regret"], 3)
    return [
        ranking["verdict"],
        f"{count(ranking['num_children'])} children trained alone with {seeds}; {said}. Brackets are "
        f"{percent(ranking['confidence'])} intervals over children. Regret is in loss; a child drawn blindly "
        f"has {chance}.",
    ]


def interference_rows(interference: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows under INTERFERENCE_HEADINGS: cosine by differing positions, then the correlations."""
    if not interference:
        return []
    measured = [interference.get(when) or {} for when in ("before", "after")]
    rows = []
    for place, row in enumerate(measured[1].get("by_distance") or []):
        found = [(part.get("by_distance") or [])[place : place + 1] for part in measured]
        name = f"cosine, {count(row['distance'])} differing"
        rows.append((name, *(interval(part[0]["cosine"]) if part else MISSING for part in found)))
    rows.append(
        (
            "Spearman with the number differing",
            *(interval(part.get("distance_spearman")) for part in measured),
        )
    )
    for key, words in SIMILARITY_WORDS.items():
        partial = [((part.get("similarities") or {}).get(key) or {}).get("partial") for part in measured]
        rows.append((f"Spearman with alike {words}, given that number", *map(interval, partial)))
    return rows


def interference_words(interference: Mapping[str, Any]) -> list[str]:
    """What the interventions did, in sentences."""
    mixing = ((interference or {}).get("after") or {}).get("mixing") or {}
    words = []
    for signal, name in (("input", "the operator's input"), ("output_gradient", "its output gradient")):
        found = mixing.get(signal)
        if found:
            first, last = found["cosines"][0]["value"], found["cosines"][-1]["value"]
            steady = "rising at every step" if found["monotone"] else "not rising at every step"
            words.append(
                f"Taking over {name} from the other child moves the cosine from {number(first, 2)} to "
                f"{number(last, 2)}, {steady}, over {count(mixing['num_pairs'])} pairs."
            )
    return words


def print_ranking(ranking: Mapping[str, Any], console: Console) -> None:
    """Print the ranking's table, its verdict and every warning."""
    _print_table(console, "Ranking of children", RANKING_HEADINGS, ranking_rows(ranking))
    for words in ranking_words(ranking):
        console.print(Text(words))
    for warning in ranking["warnings"]:
        console.print(Text(f"Warning: {warning}.", style="yellow"))


def print_interference(interference: Mapping[str, Any], console: Console) -> None:
    """Print the interference's table and what the interventions did."""
    _print_table(
        console, "Gradients of shared operators", INTERFERENCE_HEADINGS, interference_rows(interference)
    )
    for words in interference_words(interference):
        console.print(Text(words))


def _print_table(
    console: Console, title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
