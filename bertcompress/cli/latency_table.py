"""`bertcompress latency-table`: what the operators of a recipe's space take on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bertcompress.cli.options import OutputOption, RecipeArgument, SetOption, plain_errors, write_json
from bertcompress.files import check_output_file


def latency_table(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    heldout: Annotated[
        int | None,
        typer.Option(min=2, help="Chains to tell the error by. (default: the recipe's)", show_default=False),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Fit what each operator of a recipe's space takes, on whole exported chains; print the error."""
    with plain_errors():
        check_output_file(output)
        from bertcompress.recipe import load_recipe

        loaded = load_recipe(recipe, overrides or [])

        from rich.console import Console

        from bertcompress.pipeline.operator_costs import recipe_table

        table = recipe_table(loaded, num_heldout=heldout, console=Console(stderr=True))
    _print_table(table.to_dict())
    write_json(table.to_dict(), output)


def _print_table(table: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from bertcompress.report.numbers import number
    from bertcompress.report.sections.latency import operator_costs

    shown = Table("operator", "ms", title=table["machine"])
    for name, milliseconds in operator_costs(table):
        shown.add_row(name, number(milliseconds, 4))
    console = Console()
    console.print(shown)
    error = "-" if table["mape_percent"] is None else f"{table['mape_percent']:.2f}%"
    kendall = "-" if table["kendall"] is None else f"{table['kendall']:.3f}"
    noise = table["noise_percent"]
    console.print(
        f"Fitted on {table['num_chains']} whole chains; on {table['num_heldout']} held out: "
        f"mean absolute error {error}, Kendall {kendall}"
        + ("" if noise is None else f"; of the clock alone {noise:.2f}%, all being measured twice")
    )
