"""`bertcompress rank`: whether a supernet ranks children as training alone does."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from bertcompress.cli.options import RunArgument, RunDirOption, SetOption, plain_errors


def rank(
    run: RunArgument,
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    children: Annotated[int, typer.Option(min=5, help="Different children to train alone.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each child.")] = 2,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps of each training. (default: one pass over the rows)", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Workers that share the trainings; several need bertcompress[ray].")
    ] = 1,
    any_size: Annotated[bool, typer.Option("--any-size", help="Also children over the budgets.")] = False,
) -> None:
    """Train children alone and tell whether the supernet ranked them, and better than counting would.

    A killed command goes on where it was; one command at a time works on a folder.
    """
    resume = shlex.join(["bertcompress", "rank", run])
    with plain_errors(resume):
        from rich.console import Console

        from bertcompress.pipeline.trained import keep_result, trained_run

        console = Console()
        opened = trained_run(run, run_dir, overrides or [], console=console)

        from bertcompress.pipeline.ranking import rank as rank_children
        from bertcompress.report import print_findings

        with opened.folder.lock():
            result = rank_children(
                opened,
                num_children=children,
                seeds=seeds,
                steps=steps,
                workers=workers,
                within_budget=not any_size,
            )
            path = keep_result(opened, "ranking", result)
    print_findings({"ranking": result}, console)
    typer.echo(f"Wrote {path}")
