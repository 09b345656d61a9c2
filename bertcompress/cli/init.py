"""`bertcompress init`: a first recipe for the user's own data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import plain_errors
from bertcompress.errors import DataError


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Your data: a csv, tsv, json, jsonl or parquet file, a folder, or package:NAME.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The recipe to write. (default: NAME.yaml)", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a commented recipe for your data, with the text and label columns guessed."""
    with plain_errors():
        from bertcompress.recipe.template import recipe_name, render_recipe

        path = output or Path(f"{recipe_name(data)}.yaml")
        if path.exists() and not force:
            raise DataError(f"{path}: exists already; choose another name with --output, or add --force")
        if not path.parent.is_dir():
            raise DataError(
                f"{path}: the folder {path.parent} does not exist; make it, or choose another --output"
            )

        from bertcompress.data.guess import guess_columns
        from bertcompress.data.notices import suitability
        from bertcompress.sources.data import load_source

        loaded = load_source(data)
        guess = guess_columns(data, loaded.splits["train"])
        notices = suitability(loaded, guess.text_columns, guess.label_column)
        text = render_recipe(
            str(Path(data).resolve()) if Path(data).exists() else data,
            text_columns=guess.text_columns,
            label_column=guess.label_column,
            max_length=guess.max_length,
            reasons=guess.reasons,
        )
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written: {error.strerror}; choose another --output"
            ) from error
    typer.echo("\n".join([f"Wrote {path}. Guessed:", *(f"  {reason}" for reason in guess.reasons)]))
    for notice in notices:
        typer.echo(f"Note: {notice}", err=True)
    typer.echo(f"Next: {shlex.join(['bertcompress', 'run', str(path)])}")
