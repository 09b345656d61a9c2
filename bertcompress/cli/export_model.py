"""`bertcompress export-model`: a model of BERT's family as fused, verified ONNX files, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import plain_errors
from bertcompress.export.precisions import PRECISIONS

JUDGED_ROWS = 256


def export_model(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a Hub id, or package:NAME.")],
    output: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    precisions: Annotated[str, typer.Option(help=f"Files to write: {', '.join(PRECISIONS)}.")] = "fp32,int8",
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            "--calibration",
            help="Texts that narrowed files are calibrated and judged by: a table with a column text or two "
            "columns of text, or a text a line. (default: drawn from the vocabulary)",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=3, help="Tokens at which texts are cut. (default: all)", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a call, for the timing.")] = 1,
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens a row, for the timing.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a session, for the timing.")] = 1,
) -> None:
    """Export a BERT, MiniLM, RoBERTa, DistilBERT, ELECTRA or compact model of any head to ONNX, verified."""
    with plain_errors():
        from bertcompress.export.model import export_model as export
        from bertcompress.sources.texts import read_texts

        record = export(
            source,
            output,
            precisions=precisions.split(","),
            texts=() if rows is None else read_texts(rows, JUDGED_ROWS),
            max_length=max_length,
            batch_size=batch_size,
            sequence_length=sequence_length,
            num_threads=threads,
        )
    judged = "rows drawn from the vocabulary" if rows is None else f"rows of {rows.name}"
    for name, entry in record["precisions"].items():
        advice = "" if entry["recommended"] else f"; not recommended: {entry['reason']}"
        typer.echo(
            f"{output / entry['file']} ({name}): {entry['size_mib']:.1f} MiB, {entry['p50_ms']:.2f} ms, "
            f"{entry['agreement']:.1%} of {entry['num_rows']} {judged} answered as before, "
            f"largest logit error {entry['max_logit_error']:.1e}{advice}"
        )
