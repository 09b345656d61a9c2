"""Winners by budget as a table: what `bertcompress search` with several budgets prints and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bertcompress.report.markdown import escape, table
from bertcompress.report.rows import budget_limits, number, quantity


def print_budget_table(data: Mapping[str, Any], console: Console) -> None:
    """Print a row for every combination of budgets, then what could not be had and why."""
    headings, cells = _rows(data)
    printed = Table(title=Text(str(data.get("name", ""))), title_justify="left")
    for heading in headings:
        printed.add_column(Text(heading))
    for row in cells:
        printed.add_row(*map(Text, row))
    console.print(printed)
    for problem in _problems(data):
        console.print(Text(problem, style="yellow"))


def write_budget_table(data: Mapping[str, Any], path: Path) -> Path:
    """Write the table, the problems and the common front as Markdown."""
    headings, cells = _rows(data)
    sections = [f"# {escape(data['name'])}: winners by budget", _markdown(headings, cells)]
    if problems := _problems(data):
        sections.append("\n".join(f"- {escape(problem)}" for problem in problems))
    names = _cost_names(data)
    front = [
        [child["architecture"], number(child["score"], 4), *_costs(child["predicted"], names)]
        for child in data["front"]
    ]
    sections += ["## The front of all children scored", _markdown(["architecture", "score", *names], front)]
    sections.append(
        f"{data['num_scored']} children scored by {escape(data['searcher'])}, seed {data['seed']}; "
        f"latencies are predicted in the front and measured whole for winners. {escape(_conditions(data))}"
    )
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def _markdown(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return table(list(map(escape, headings)), [list(map(escape, row)) for row in cells])


def _rows(data: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row a combination: its limits, the winner, its score and its measured costs."""
    names = _cost_names(data)
    limited = list(dict.fromkeys(budget["name"] for row in data["combinations"] for budget in row["budgets"]))
    cells = []
    for row in data["combinations"]:
        limits = {budget["name"]: _limits(budget, with_unit=False) for budget in row["budgets"]}
        winner = row["winner"]
        found = (
            ["none fits", "-", *("-" for _ in names)]
            if winner is None
            else [winner["architecture"], number(winner["score"], 4), *_costs(winner["measured"], names)]
        )
        cells.append([*(limits.get(name, "-") for name in limited), *found])
    return [*(f"{name} asked" for name in limited), "winner", "score", *names], cells


def _problems(data: Mapping[str, Any]) -> list[str]:
    """Why some budgets have no winner, a line each, and what to mind about the others."""
    found = []
    for row in data["combinations"]:
        if row["problem"]:
            asked = ", ".join(f"{budget['name']} {_limits(budget)}" for budget in row["budgets"])
            found.append(f"{asked}: " + "; ".join(line.strip() for line in row["problem"].splitlines()))
    trained = {budget["name"]: budget["upper"] for budget in data["trained_within"] if budget["upper"]}
    wider = [
        f"{budget['name']} {_limits(budget)}"
        for row in data["combinations"]
        for budget in row["budgets"]
        if budget["upper"] is None or budget["upper"] > trained.get(budget["name"], float("inf"))
    ]
    if wider:
        asked = ", ".join(dict.fromkeys(wider))
        found.append(
            f"wider than what the supernet was trained within: {asked}; the scores of larger children are of "
            "weights that were never trained together"
        )
    return found


def _cost_names(data: Mapping[str, Any]) -> list[str]:
    priced = [child["predicted"] for child in data["front"]]
    priced += [row["nearest"]["predicted"] for row in data["combinations"] if row["nearest"]]
    return list(priced[0]) if priced else []


def _costs(costs: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [quantity(name, costs[name]) for name in names]


def _limits(budget: Mapping[str, Any], *, with_unit: bool = True) -> str:
    described = {"name": budget["name"], "limit": budget["upper"], "least": budget["lower"]}
    return budget_limits(described, with_unit=with_unit)


def _conditions(data: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} at {conditions}" for name, conditions in data["conditions"].items())
