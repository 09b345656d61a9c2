"""`bertcompress interference`: how much the children of a supernet disagree, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from bertcompress.cli.options import RunArgument, RunDirOption, SetOption, plain_errors


def interference(
    run: RunArgument,
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    pairs: Annotated[
        int, typer.Option(min=2, help="Pairs of children a number of differing positions.")
    ] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a batch.")] = 32,
) -> None:
    """Measure how much children disagree about shared operators, before and after training, and why."""
    with plain_errors():
        from rich.console import Console

        from bertcompress.pipeline.trained import keep_result, trained_run

        console = Console()
        opened = trained_run(run, run_dir, overrides or [], console=console)

        # Not before: a bad recipe is refused without torch.
        from bertcompress.pipeline.interference import measure
        from bertcompress.report import print_findings

        with opened.folder.lock():
            result = measure(opened, num_pairs=pairs, batch_size=batch_size)
            path = keep_result(opened, "interference", result)
    print_findings({"interference": result}, console)
    typer.echo(f"Wrote {path}")
