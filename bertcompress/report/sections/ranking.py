"""Whether the supernet ranks children as stand-alone training does, and better than counting would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.figures.supernet import ranking_figure
from bertcompress.report.numbers import count, estimate, number, percent
from bertcompress.report.plot import Plot
from bertcompress.report.section import Column, Section, Table, Words

CAPTION = "Ranking: the supernet's score against stand-alone training, beside what costs nothing"
COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("score", lambda row: row["name"], is_text=True),
    Column("Kendall", lambda row: estimate(row["kendall"])),
    Column("Spearman", lambda row: number(row["spearman"], 2)),
    Column("Pearson", lambda row: number(row["pearson"], 2)),
    Column("top-1 regret", lambda row: number(row["regret"]["1"], 3)),
    Column("top-3 regret", lambda row: number(row["regret"]["3"], 3)),
    Column("supernet - this", lambda row: estimate(row.get("difference"))),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Ranking of children": the supernet first, then the baselines."""
    ranking = data.get("ranking") or {}
    if not ranking:
        return None
    rows = [{**ranking["supernet"], "name": "supernet"}, *ranking["baselines"]]
    return Section(
        "Ranking of children",
        (
            Words(ranking["verdict"]),
            Words(_how_to_read(ranking), "quiet"),
            *(Words(f"Warning: {warning}.", "bad") for warning in ranking.get("warnings") or []),
            Plot("ranking", CAPTION, lambda: ranking_figure(ranking)),
            Table.of(COLUMNS, rows),
        ),
    )


def _how_to_read(ranking: Mapping[str, Any]) -> str:
    ceiling = ranking.get("ceiling")
    seeds = f"{count(ranking['num_seeds'])} seed" + ("s" if ranking["num_seeds"] != 1 else "")
    said = "no ceiling from one seed" if not ceiling else f"seed to seed, Kendall {estimate(ceiling)}"
    chance = number(ranking["supernet"]["chance_regret"], 3)
    return (
        f"{count(ranking['num_children'])} children were trained alone with {seeds}; {said}. Brackets are "
        f"{percent(ranking['confidence'])} intervals over children. Regret is in loss; a child drawn at "
        f"random has {chance}."
    )
