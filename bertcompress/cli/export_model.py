"""`bertcompress export-model`: a model of BERT's family as fused, verified ONNX files, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import plain_errors
from bertcompress.errors import DataError, ExportError
from bertcompress.export.precisions import PRECISIONS

# Texts are cut there for the calibration, unless the user says where: longer ones change no range.
CALIBRATED_LENGTH, CALIBRATED_ROWS = 128, 256


def export_model(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a Hub id, or package:NAME.")],
    output: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    precisions: Annotated[str, typer.Option(help=f"Files to write: {', '.join(PRECISIONS)}.")] = "fp32,int8",
    calibration: Annotated[
        Path | None,
        typer.Option(help="A file with a text a line, for int8_static; int8 then spares what it would harm."),
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
        from bertcompress.export.calibration import Calibration
        from bertcompress.export.folder import ExportRows, export_folder
        from bertcompress.export.optimize import timer
        from bertcompress.export.own_folder import check_output
        from bertcompress.export.recommend import Trial
        from bertcompress.export.teachers import load_model
        from bertcompress.measure import Conditions
        from bertcompress.sources.checkpoint import label_names_of
        from bertcompress.sources.limits import input_limits, too_long
        from bertcompress.sources.teacher import resolve_teacher
        from bertcompress.sources.tokenizer import check_tokenizer_suits, load_tokenizer

        location = resolve_teacher(source)
        check_output(output, location)
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
            rows=ExportRows(
                calibration=Calibration.from_texts(_texts(calibration), tokenizer, longest)
                if calibration is not None
                else None
            ),
            trial=Trial(timer(conditions, vocab_size=model.config.vocab_size)),
            about={
                "name": Path(source).resolve().name if Path(source).is_dir() else source,
                "p50 at": str(conditions),
            },
        )
    for name, entry in record["precisions"].items():
        advice = "" if entry["recommended"] else f"; not recommended: {entry['reason']}"
        typer.echo(
            f"{output / entry['file']} ({name}): {entry['size_mib']:.1f} MiB, {entry['p50_ms']:.2f} ms, "
            f"largest logit error {entry['max_logit_error']:.1e}{advice}"
        )


def _texts(path: Path) -> list[str]:
    """The first lines of a file that are not blank.

    Raises:
        DataError: the file cannot be read, or holds no text.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--calibration {path}: cannot be read as text: {error}") from error
    if not lines:
        raise DataError(f"--calibration {path}: holds no text; give a file with a text a line")
    return lines[:CALIBRATED_ROWS]
