"""The report in a terminal: verdict, budgets and the table of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bertcompress.report.rows import (
    budget_words,
    metric_name,
    model_rows,
    number,
    percent,
    short_count,
    times,
)

ROLE_STYLES = {"winner": "bold green", "teacher": "cyan", "baseline": "yellow"}


def print_table(data: Mapping[str, Any], console: Console) -> None:
    """Print the models, a row for every exported file, then the budgets and the verdict."""
    console.print(model_table(data))
    for budget in data.get("budgets") or []:
        console.print(Text(budget_words(budget), style="green" if budget.get("met") else "bold red"))
    if data.get("verdict"):
        console.print(Text(str(data["verdict"]), style="bold"))


def model_table(data: Mapping[str, Any]) -> Table:
    """The models as a rich table; text from the run is never read as markup."""
    table = Table(title=Text(str(data.get("name", ""))), title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("precision", no_wrap=True)
    for heading in ("params", "MACs", "MiB", metric_name(data), "p50 ms", "speedup"):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    table.add_column("advice")
    previous = None
    for row in model_rows(data):
        if previous not in (None, row.role):
            table.add_section()
        cells = (
            Text(row.role, style=ROLE_STYLES.get(row.role, "")),
            Text(row.precision),
            short_count(row.num_parameters),
            short_count(row.macs),
            number(row.size_mib, 1),
            percent(row.metric),
            number(row.p50_ms),
            times(row.speedup),
            Text(row.advice, style="green" if row.recommended else "dim"),
        )
        table.add_row(*cells)
        previous = row.role
    return table
