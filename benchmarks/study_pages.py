"""Figures and tables of an interference study, from its record; figures lie in docs/figures.

A page marks where a table goes: <!-- table NAME of RECORD --> and <!-- end of table -->; what is between them
is replaced. The same by hand, from a record that is there:

    python benchmarks/study_pages.py interference-scratch --write-tables docs/interference.md
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from record import RESULTS

from bertcompress.report.figures.supernet import (
    KIND_COLOURS,
    draw_distances,
    draw_intervals,
    interference_figure,
)
from bertcompress.report.markdown import escape, table
from bertcompress.report.numbers import estimate
from bertcompress.report.plot import INK, QUIET, ROLE_COLOURS, STYLE
from bertcompress.report.sections.interference import SIMILARITY_WORDS

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
MARK = re.compile(r"(<!-- table (\S+) of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def write_figures(record: Mapping[str, Any], folder: Path = FIGURES) -> list[Path]:
    """RECORD-taus.png, RECORD-distance.png and RECORD-interference.png (of spos's first supernet)."""
    folder.mkdir(parents=True, exist_ok=True)
    spos = {
        "before": record["untrained_interference"],
        "after": record["settings"]["spos"]["interference"][0],
    }
    drawn: dict[str, Callable[[], Figure | None]] = {
        "taus": lambda: taus_figure(record),
        "distance": lambda: distance_figure(record),
        "interference": lambda: interference_figure(spos),
    }
    paths = []
    with matplotlib.rc_context(STYLE):
        for name, draw in drawn.items():
            figure = draw()
            if figure is not None:
                path = folder / f"{record['name']}-{name}.png"
                figure.savefig(path, dpi=120, facecolor="white", metadata={"Software": None})
                print(f"Wrote {path}")
                paths.append(path)
    return paths


def taus_figure(record: Mapping[str, Any]) -> Figure:
    """Kendall's tau of every setting, each seed a dot, above the baselines; the ceiling is a band."""
    settings = record["settings"]
    rows = [(name, row["kendall"], ROLE_COLOURS["supernet"]) for name, row in settings.items()]
    rows += [(row["name"], row["kendall"], QUIET) for row in record["baselines"]]
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, (name, tau, colour) in enumerate(rows):
        draw_intervals(axis, [place], [tau], colour=colour)
        seeds = settings[name]["kendall_of_seeds"] if name in settings else []
        axis.plot(seeds, [place] * len(seeds), "|", color=INK, markersize=11)
    if record["ceiling"]:
        _band(axis, record["ceiling"])
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.axhline(len(settings) - 0.5, color=QUIET, linewidth=0.8)
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("Kendall's tau against stand-alone training (bars: the seeds; lines: 90% intervals)")
    return figure


def _band(axis: Axes, ceiling: Mapping[str, float]) -> None:
    green = ROLE_COLOURS["winner"]
    axis.axvspan(ceiling["low"], ceiling["high"], color=green, alpha=0.1, linewidth=0)
    axis.axvline(ceiling["value"], color=green, linestyle="--", linewidth=1.2, label="seed to seed")
    axis.legend(loc="lower left")


def distance_figure(record: Mapping[str, Any]) -> Figure:
    """Gradient cosine against differing positions, a line a strategy, their first supernets."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axis = figure.subplots()
    draw_distances(axis, record["untrained_interference"], colour=QUIET, label="untrained")
    plain = [name for name in record["settings"] if ":" not in name]
    for index, name in enumerate(plain):
        colour = KIND_COLOURS[index % len(KIND_COLOURS)]
        draw_distances(axis, record["settings"][name]["interference"][0], colour=colour, label=name)
    axis.legend(ncols=2)
    return figure


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def ranking_table(record: Mapping[str, Any]) -> str:
    """Settings, then baselines: tau and what it is above."""
    headings = ["score", "steps", "ms a step", "tau", "sd of seeds", "over spos", "over the best baseline",
                "top-3 regret", "spread"]  # fmt: skip
    rows = [
        [
            escape(name) + (f" ({row['collapsed']} collapsed)" if row["collapsed"] else ""),
            f"{row['steps']:,}",
            _number(row["cpu_ms_a_step"], 1),
            estimate(row["kendall"]),
            _number(row["kendall_sd"]),
            estimate(row["over_spos"]),
            estimate(row["over_best_baseline"]),
            _number(row["regret"]["3"], 3),
            _number(row["spread"], 3),
        ]
        for name, row in record["settings"].items()
    ]
    for row in record["baselines"]:
        tau, regret = estimate(row["kendall"]), _number(row["regret"]["3"], 3)
        rows.append([escape(row["name"]), "", "", tau, "", "", "", regret, ""])
    ceiling = estimate(record["ceiling"]) if record["ceiling"] else "-"
    rows.append(["seed to seed (ceiling)", "", "", ceiling, "", "", "", "", ""])
    return table(headings, rows)


def interference_table(record: Mapping[str, Any]) -> str:
    """A row a supernet: cosines near and far, the correlations, and what the interventions did."""
    headings = ["supernet", "cosine, nearest", "cosine, farthest", "difference", "Spearman with distance"]
    headings += [f"alike {words}, given distance" for words in SIMILARITY_WORDS.values()]
    headings += ["input mixed 0 to 1", "rises at every mix"]
    rows = [_interference_row("untrained", record["untrained_interference"])]
    for name, setting in record["settings"].items():
        for seed, found in enumerate(setting["interference"]):
            rows.append(_interference_row(f"{name}, seed {seed}", found))
    return table(headings, rows)


def _interference_row(name: str, found: Mapping[str, Any]) -> list[str]:
    mixed = found["mixing"]["input"]
    first, last = mixed["cosines"][0]["value"], mixed["cosines"][-1]["value"]
    return [
        escape(name),
        *(_number(found["by_distance"][place]["cosine"]["value"]) for place in (0, -1)),
        estimate(found["nearest_minus_farthest"]),
        estimate(found["distance_spearman"]),
        *(estimate(found["similarities"][key]["partial"]) for key in SIMILARITY_WORDS),
        f"{first:.2f} to {last:.2f}",
        "yes" if mixed["monotone"] else "no",
    ]


def origin_lines(record: Mapping[str, Any]) -> str:
    """Where the numbers come from."""
    seconds = record["cpu_seconds"]
    return "\n".join(
        [
            f"    {record['command']}",
            "",
            f"{record['num_children']} children with {record['child_seeds']} seeds each; "
            f"{record['machine']['cpu']}, {record['date']}; "
            f"{seconds['children'] / 60:.0f} processor minutes "
            f"for the children, {seconds['supernets'] / 60:.0f} for the supernets. A child drawn blindly "
            f"has a regret of {record['chance_regret']:.3f}. Best setting, {record['best']}: "
            f"{record['settings'][record['best']]['verdict']}",
        ]
    )


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "ranking": ranking_table,
    "interference": interference_table,
    "origin": origin_lines,
}


def write_tables(path: Path, record: Mapping[str, Any]) -> None:
    """Fill the tables that the page marks for this record."""

    def fill(mark: re.Match[str]) -> str:
        start, name, wanted, end = mark.groups()
        if wanted != record["name"]:
            return mark[0]
        return f"{start}\n{TABLES[name](record)}\n\n{end}"

    path.write_text(MARK.sub(fill, path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote the tables of {path}")


def main(words: Sequence[str] | None = None) -> None:
    """Draw and write again from a record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", help="the name of a record in benchmarks/results")
    parser.add_argument("--write-tables", type=Path, metavar="FILE")
    arguments = parser.parse_args(words)
    record = json.loads((RESULTS / f"{arguments.record}.json").read_text(encoding="utf-8"))
    write_figures(record)
    if arguments.write_tables:
        write_tables(arguments.write_tables, record)


if __name__ == "__main__":
    main()
