"""`bertcompress search`: other budgets for a trained supernet, a winner for each."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import (
    EXIT_BUDGET_BROKEN,
    RunArgument,
    RunDirOption,
    SetOption,
    plain_errors,
    say_new_word,
)
from bertcompress.cli.run import run as run_recipe_until

MANY = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NUMBER = re.compile(r"([0-9][0-9_]*\.?[0-9]*(?:e[+-]?[0-9]+)?)([kmg]?)", re.IGNORECASE)

LatenciesOption = Annotated[
    str | None,
    typer.Option("--latency-ms", help="Latency limits to search under, such as 1,2,4.", show_default=False),
]
CountsOption = Annotated[
    str | None,
    typer.Option(
        "--num-parameters", help="Parameter limits to search under, such as 4M,8_000_000.", show_default=False
    ),
]


def quantities(text: str) -> tuple[float, ...]:
    """The numbers of an option such as `--num-parameters 4M,4_000_000,4e6`; k, M and G are powers of 1000."""
    found = [_NUMBER.fullmatch(word.strip()) for word in text.split(",")]
    numbers = [float(match[1]) * MANY[match[2].lower()] for match in found if match]
    if len(numbers) < len(found) or not all(number > 0 for number in numbers):
        raise typer.BadParameter(f"{text!r} is not a list of numbers above 0; write for example 1,2.5 or 4M")
    return tuple(numbers)


def search(
    run: RunArgument,
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    latency_ms: LatenciesOption = None,
    num_parameters: CountsOption = None,
) -> None:
    """Search a trained supernet under every combination of the limits, and print a winner for each.

    A recipe is run up to its supernet first. Without limits the budgets are the run's own.
    """
    asked = {"--latency-ms": latency_ms, "--num-parameters": num_parameters}
    given = {option: text for option, text in asked.items() if text is not None}
    if not given and not Path(run).is_dir():
        say_new_word("search RECIPE", "run RECIPE --until search")
        run_recipe_until(run, run_dir, overrides, "search")
        return
    limits = {option.strip("-").replace("-", "_"): quantities(text) for option, text in given.items()}
    with plain_errors(_command(run, run_dir, overrides or [], given)):
        folder = _trained_folder(run, run_dir, overrides or [])

        from rich.console import Console

        from bertcompress.pipeline.many_budgets import combinations, open_run, search_many
        from bertcompress.report.budget_table import print_budget_table

        console = Console()
        # A recipe's overrides are those that its supernet was trained with.
        opened = open_run(folder, overrides or [] if Path(run).is_dir() else [], console)
        with opened.folder.lock():
            found = search_many(opened, combinations(opened, limits))
    print_budget_table(found, console)
    typer.echo(f"Written: {folder / 'search' / 'budgets.json'} and budgets.md")
    if not any(row["winner"] for row in found["combinations"]):
        raise typer.Exit(EXIT_BUDGET_BROKEN)


def _command(run: str, run_dir: Path | None, overrides: list[str], given: Mapping[str, str]) -> str:
    """Return the command that goes on with an interrupted search."""
    where = [] if run_dir is None else ["--run-dir", str(run_dir)]
    sets = [("--set", override) for override in overrides]
    return shlex.join(itertools.chain(["bertcompress", "search", run], where, *sets, *given.items()))


def _trained_folder(run: str, run_dir: Path | None, overrides: list[str]) -> Path:
    """Return the folder `run`, or that of the recipe `run` once its supernet is trained."""
    if Path(run).is_dir():
        return Path(run)
    from bertcompress.recipe import load_recipe

    recipe = load_recipe(run, overrides)
    folder = run_dir or Path("runs") / recipe.name

    from rich.console import Console

    from bertcompress.pipeline import run_recipe

    run_recipe(recipe, folder, "supernet", console=Console())
    return folder
