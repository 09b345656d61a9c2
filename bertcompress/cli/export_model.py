"""`bertcompress export-model`: a model of BERT's family as fused, verified ONNX files, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import plain_errors
from bertcompress.errors import ExportError
from bertcompress.export.precisions import PRECISIONS

# Texts are cut there for the calibration, unless the user says where: longer ones change no range.
CALIBRATED_LENGTH, CALIBRATED_ROWS = 128, 256


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
        from bertcompress.export.folder import export_folder
        from bertcompress.export.optimize import timer
        from bertcompress.export.own_folder import check_output
        from bertcompress.export.probe_rows import export_rows
        from bertcompress.export.recommend import Trial
        from bertcompress.export.teachers import load_model
        from bertcompress.measure import Conditions
        from bertcompress.sources.checkpoint import label_names_of
        from bertcompress.sources.limits import input_limits, too_long
        from bertcompress.sources.teacher import resolve_teacher
        from bertcompress.sources.texts import read_texts
        from bertcompress.sources.tokenizer import check_tokenizer_suits, load_tokenizer

        location = resolve_teacher(source)
        check_output(output, location)
        texts = () if rows is None else read_texts(rows, CALIBRATED_ROWS)
        tokenizer = load_tokenizer(location, location)
        model = load_model(location)
        check_tokenizer_suits(tokenizer, model.config.vocab_size, location)
        limits = input_limits(model.config.to_dict())
        lengths = {"--max-length": max_length or 0, "--sequence-length": sequence_length}
        problems = [too_long(option, length, limits, "the model") for option, length in lengths.items()]
        if found := [problem for problem in problems if problem]:
            raise ExportError.from_problems(location, found)
        longest = min(max_length or CALIBRATED_LENGTH, limits.max_length)
        conditions = Conditions(batch_size, sequence_length, threads)
        record = export_folder(
            model,
            tokenizer,
            label_names_of(model.config, location),
            output,
            precisions=tuple(precisions.split(",")),
            max_length=max_length,
            rows=export_rows(model, tokenizer, longest, texts),
            trial=Trial(timer(conditions, vocab_size=model.config.vocab_size)),
            about={
                "name": Path(source).resolve().name if Path(source).is_dir() else source,
                "p50 at": str(conditions),
            },
        )
    judged = "rows drawn from the vocabulary" if rows is None else f"rows of {rows.name}"
    for name, entry in record["precisions"].items():
        advice = "" if entry["recommended"] else f"; not recommended: {entry['reason']}"
        typer.echo(
            f"{output / entry['file']} ({name}): {entry['size_mib']:.1f} MiB, {entry['p50_ms']:.2f} ms, "
            f"{entry['agreement']:.1%} of {entry['num_rows']} {judged} answered as before, "
            f"largest logit error {entry['max_logit_error']:.1e}{advice}"
        )
