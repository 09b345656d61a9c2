"""Commands by their names of before, hidden from the help: each calls the command that took its place.

They go with the version after 0.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.benchmark import benchmark
from bertcompress.cli.latency_table import latency_table
from bertcompress.cli.options import OutputOption, RecipeArgument, RunDirOption, SetOption, say_new_word
from bertcompress.cli.run import run

# `search RECIPE` without limits was one too; the command `search` sees to it.
STAGE_WORDS = ("teacher", "supernet", "student", "export", "report")

latency = typer.Typer(help="See `benchmark` and `latency-table`.")


def stage_command(stage: str) -> Callable[[str, Path | None, list[str] | None], None]:
    """Return the command that runs a recipe up to `stage`."""

    def run_until(recipe: RecipeArgument, run_dir: RunDirOption = None, overrides: SetOption = None) -> None:
        say_new_word(stage, f"run RECIPE --until {stage}")
        run(recipe, run_dir, overrides, stage)

    run_until.__doc__ = f"Run a recipe up to {stage}; now `run RECIPE --until {stage}`."
    return run_until


@latency.command("time")
def latency_time(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    batch_size: int = 1,
    sequence_length: int = 32,
    threads: int = 1,
    provider: str = "cpu",
    seconds: float = 3.0,
    repeats: int = 1,
    callers: str = "1,2",
    output: OutputOption = None,
) -> None:
    """Time ONNX files at one shape; now `benchmark DIR...`."""
    say_new_word("latency time", "benchmark DIR...")
    shapes = str(batch_size), str(sequence_length), str(threads)
    benchmark(
        folders, None, provider, *shapes, seconds=seconds, repeats=repeats, callers=callers, output=output
    )


@latency.command("table")
def table(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    heldout: Annotated[int | None, typer.Option(min=2)] = None,
    output: OutputOption = None,
) -> None:
    """Fit what the operators of a space take; now `latency-table`."""
    say_new_word("latency table", "latency-table RECIPE")
    latency_table(recipe, overrides, heldout, output)
