"""`bertcompress validate`: check a recipe without running it."""

from __future__ import annotations

import typer

from bertcompress.cli.options import RecipeArgument, SetOption, plain_errors


def validate(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Check a recipe without running it, and hold it, its data and its teacher against each other."""
    with plain_errors():
        from bertcompress.recipe import load_recipe

        loaded = load_recipe(recipe, overrides or [])

        # Not before: a bad recipe is refused without torch.
        from bertcompress.pipeline.agreement import validate_recipe

        unchecked = validate_recipe(loaded)
    typer.echo(f"{recipe} is valid: {loaded.name}. {loaded.description}".rstrip())
    for line in unchecked:
        typer.echo(f"Not checked: {line}")
