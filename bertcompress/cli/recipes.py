"""`bertcompress recipes`: the recipes that ship."""

from __future__ import annotations

import typer

from bertcompress.cli.options import plain_errors


def recipes() -> None:
    """List the recipes that ship, a line each."""
    with plain_errors():
        from bertcompress.recipe import list_recipes

        described = list_recipes()
    width = max(map(len, described), default=0)
    for name, description in described.items():
        typer.echo(f"{name:{width}}  {description}")
