"""Winners by budget: what `bertcompress search` with several budgets prints and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bertcompress.report.budgets import budget_limits
from bertcompress.report.markdown import write_markdown
from bertcompress.report.numbers import MISSING, number, quantity
from bertcompress.report.section import Column, Items, Report, Section, Table, Words
from bertcompress.report.terminal import print_sections


def print_budget_table(data: Mapping[str, Any], console: Console) -> None:
    """Print a row for every combination of budgets, then what could not be had and why."""
    print_sections([_winners(data)], console)


def write_budget_table(data: Mapping[str, Any], path: Path) -> Path:
    """Write the table, the problems and the common front as Markdown."""
    report = Report(f"{data['name']}: winners by budget", (), (_winners(data), _front(data)))
    return write_markdown(report, path, plots={})


def _winners(data: Mapping[str, Any]) -> Section:
    limited = dict.fromkeys(budget["name"] for row in data["combinations"] for budget in row["budgets"])
    columns: list[Column[Mapping[str, Any]]] = [
        *(Column(f"{name} asked", _asked(name)) for name in limited),
        Column("winner", lambda row: _of_winner(row, "architecture", "none fits"), is_text=True),
        Column("score", lambda row: _of_winner(row, "score", MISSING)),
        *(Column(name, _measured(name)) for name in _cost_names(data)),
    ]
    problems = tuple(Words(problem) for problem in _problems(data))
    table = Table.of(columns, data["combinations"])
    return Section("Winners by budget", (table, Items(problems)) if problems else (table,))


def _asked(name: str) -> Callable[[Mapping[str, Any]], str]:
    def asked(row: Mapping[str, Any]) -> str:
        limits = {budget["name"]: _limits(budget, with_unit=False) for budget in row["budgets"]}
        return limits.get(name, MISSING)

    return asked


def _of_winner(row: Mapping[str, Any], key: str, missing: str) -> str:
    if row["winner"] is None:
        return missing
    value = row["winner"][key]
    return number(value, 4) if isinstance(value, float) else str(value)


def _measured(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: MISSING if row["winner"] is None else quantity(name, row["winner"]["measured"][name])


def _predicted(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda child: quantity(name, child["predicted"][name])


def _front(data: Mapping[str, Any]) -> Section:
    columns: list[Column[Mapping[str, Any]]] = [
        Column("architecture", lambda child: child["architecture"], is_text=True),
        Column("score", lambda child: number(child["score"], 4)),
        *(Column(name, _predicted(name)) for name in _cost_names(data)),
    ]
    words = (
        f"{data['num_scored']} children scored by {data['searcher']}, seed {data['seed']}; latencies are "
        f"predicted in the front and measured whole for winners. {_conditions(data)}"
    )
    return Section("The front of all children scored", (Table.of(columns, data["front"]), Words(words)))


def _problems(data: Mapping[str, Any]) -> list[str]:
    """Say why some budgets have no winner, a line each, and what to mind about the others."""
    found = []
    for row in data["combinations"]:
        if row["problem"]:
            asked = ", ".join(f"{budget['name']} {_limits(budget)}" for budget in row["budgets"])
            found.append(f"{asked}: " + "; ".join(line.strip() for line in row["problem"].splitlines()))
    if wider := _wider_than_trained(data):
        found.append(
            f"wider than what the supernet was trained within: {', '.join(wider)}; the scores of larger "
            "children are of weights that were never trained together"
        )
    return found


def _wider_than_trained(data: Mapping[str, Any]) -> list[str]:
    trained = {budget["name"]: budget["upper"] for budget in data["trained_within"] if budget["upper"]}
    budgets = (budget for row in data["combinations"] for budget in row["budgets"])
    wider = (
        f"{budget['name']} {_limits(budget)}"
        for budget in budgets
        if budget["upper"] is None or budget["upper"] > trained.get(budget["name"], float("inf"))
    )
    return list(dict.fromkeys(wider))


def _cost_names(data: Mapping[str, Any]) -> Sequence[str]:
    priced = [child["predicted"] for child in data["front"]]
    priced += [row["nearest"]["predicted"] for row in data["combinations"] if row["nearest"]]
    return list(priced[0]) if priced else []


def _limits(budget: Mapping[str, Any], *, with_unit: bool = True) -> str:
    described = {"name": budget["name"], "limit": budget["upper"], "least": budget["lower"]}
    return budget_limits(described, with_unit=with_unit)


def _conditions(data: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} at {conditions}" for name, conditions in data["conditions"].items())
