"""Export a model that is there already, without a run: found, checked, and written as verified ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertcompress.errors import DataError, ExportError
from bertcompress.export.folder import export_folder
from bertcompress.export.optimize import timer
from bertcompress.export.own_folder import check_output
from bertcompress.export.probe_rows import export_rows
from bertcompress.export.recommend import Trial
from bertcompress.export.teachers import load_model
from bertcompress.export.tokenizer_files import Text
from bertcompress.measure import Conditions
from bertcompress.sources.checkpoint import label_names_of
from bertcompress.sources.limits import input_limits, too_long
from bertcompress.sources.teacher import resolve_teacher
from bertcompress.sources.tokenizer import check_tokenizer_suits, load_tokenizer

# Texts are cut there for the calibration, unless the user says where: longer ones change no range.
CALIBRATED_LENGTH = 128


def export_model(
    source: str | Path,
    output: str | Path,
    *,
    precisions: Sequence[str] = ("fp32", "int8"),
    texts: Sequence[Text] = (),
    max_length: int | None = None,
    batch_size: int = 1,
    sequence_length: int = 32,
    num_threads: int = 1,
) -> dict[str, Any]:
    """Write a model of BERT's family, with any head, as a folder of ONNX files, and return its export.json.

        export_model("my-bert", "out", precisions=["fp32", "int8"])

    `source` is a folder, a Hub id or package:NAME. Narrowed files are calibrated and judged by `texts`, or
    pairs of texts; where none are given, by rows drawn from the vocabulary. Texts are cut at `max_length`
    tokens, by default where the model ends. The files are timed at `batch_size`, `sequence_length` and
    `num_threads`; by that, too, they are recommended or not.

    Raises:
        TeacherError: there is no such model, or its checkpoint or tokenizer is not whole.
        ExportError: a length is beyond the model, or `output` holds what no export wrote.
        VerificationError: a file does not compute what the model computes.
    """
    if isinstance(precisions, str):
        raise DataError(f"precisions: {precisions!r} is a text; give a list, such as ['fp32', 'int8']")
    source, output = str(source), Path(output)
    location = resolve_teacher(source)
    check_output(output, location)
    tokenizer = load_tokenizer(location, location)
    model = load_model(location)
    check_tokenizer_suits(tokenizer, model.config.vocab_size, location)
    limits = input_limits(model.config.to_dict())
    lengths = {"max_length": max_length or 0, "sequence_length": sequence_length}
    problems = [too_long(name, length, limits, "the model") for name, length in lengths.items()]
    if found := [problem for problem in problems if problem]:
        raise ExportError.from_problems(location, found)
    longest = min(max_length or CALIBRATED_LENGTH, limits.max_length)
    conditions = Conditions(batch_size, sequence_length, num_threads)
    return export_folder(
        model,
        tokenizer,
        label_names_of(model.config, location),
        output,
        precisions=tuple(precisions),
        max_length=max_length,
        rows=export_rows(model, tokenizer, longest, texts),
        trial=Trial(timer(conditions, vocab_size=model.config.vocab_size)),
        about={
            "name": Path(source).resolve().name if Path(source).is_dir() else source,
            "p50 at": str(conditions),
        },
    )
