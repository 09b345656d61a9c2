"""`bertcompress run`: a recipe to its report, or up to one stage."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import (
    EXIT_BUDGET_BROKEN,
    RecipeArgument,
    RunDirOption,
    SetOption,
    plain_errors,
)
from bertcompress.pipeline import STAGE_NAMES


def _stage(name: str) -> str:
    if name not in STAGE_NAMES:
        raise typer.BadParameter(f"{name!r} is no stage; use one of {', '.join(STAGE_NAMES)}")
    return name


UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="STAGE",
        parser=_stage,
        help=f"Stop after this stage: {', '.join(STAGE_NAMES)}. `report` writes a finished one again.",
        show_default=False,
    ),
]


def run(
    recipe: RecipeArgument,
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    until: UntilOption = None,
) -> None:
    """Run a recipe: from the teacher to the benchmarked ONNX files and the report.

    Finished stages whose inputs have not changed are kept, so the same command goes on after an interruption.
    """
    with plain_errors(_command(recipe, run_dir, overrides or [], until)):
        from bertcompress.recipe import load_recipe

        # Before the import of torch: a bad recipe is refused at once, and nothing is written.
        loaded = load_recipe(recipe, overrides or [])
        folder = run_dir or Path("runs") / loaded.name

        from rich.console import Console

        from bertcompress.pipeline import run_recipe
        from bertcompress.training.processes import is_first

        console = Console()
        result = run_recipe(loaded, folder, until, console=console)
    if not is_first():
        return
    if until not in (None, "report"):
        typer.echo(f"{until}: finished in {folder}")
        return

    from bertcompress.report import print_summary

    print_summary(result.report, console)
    typer.echo(f"Report: {result.report_path}")
    if not result.budgets_met:
        broken = [budget["name"] for budget in result.report["budgets"] if not budget["met"]]
        typer.echo(f"Broken: {', '.join(broken)}; the exported file does not fit its budget.", err=True)
        raise typer.Exit(EXIT_BUDGET_BROKEN)


def _command(recipe: str, run_dir: Path | None, overrides: list[str], until: str | None) -> str:
    """Return the command that goes on with an interrupted run."""
    where = [] if run_dir is None else ["--run-dir", str(run_dir)]
    sets = [word for override in overrides for word in ("--set", override)]
    stop = [] if until is None else ["--until", until]
    return shlex.join(["bertcompress", "run", recipe, *where, *sets, *stop])
