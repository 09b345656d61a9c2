"""`bertcompress evolve-space`: a better space to search."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import RunArgument, RunDirOption, SetOption, plain_errors
from bertcompress.files import check_output_file, write_atomically


def evolve_space(
    run: RunArgument,
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    generations: Annotated[int, typer.Option(min=1, help="Trainings, each followed by a selection.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of a generation.")] = 400,
    paths: Annotated[int, typer.Option(min=2, help="Operators of a position that run side by side.")] = 2,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the evolved recipe here.", show_default=False),
    ] = None,
) -> None:
    """Evolve the operators of every position, and write the recipe whose space they are (AutoSpace).

    Operators whose learnt fitness is low, or that waste time on this machine, give way to mutations of the
    fit ones. A killed command goes on where it was.
    """
    with plain_errors(shlex.join(["bertcompress", "evolve-space", run])):
        check_output_file(output)
        from rich.console import Console

        from bertcompress.pipeline.trained import refresh_report, trained_run

        console = Console()
        opened = trained_run(run, run_dir, overrides or [], until="teacher", console=console)

        from bertcompress.pipeline.evolved_space import RECIPE
        from bertcompress.pipeline.stages.evolve_space import EvolutionSettings
        from bertcompress.pipeline.stages.evolve_space import evolve_space as evolve
        from bertcompress.report import print_findings

        with opened.folder.lock():
            result = evolve(opened, EvolutionSettings(generations, steps, paths))
            refresh_report(opened)
        written = opened.folder.path / RECIPE
        if output is not None:
            write_atomically(output, written.read_bytes())
            written = output
    print_findings({"evolution": result}, console)
    typer.echo(f"Wrote {written}; go on with: {shlex.join(['bertcompress', 'run', str(written)])}")
