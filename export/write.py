"""From a converted graph to the file of every precision: fused, packed, narrowed, and branched last.

Which of the doubtful fusions a file has is decided by timing a file of every kind, fp32 and int8 apart: what
is faster in one need not be so in the other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bertcompress.errors import ExportError
from bertcompress.export.attention import branch_attention
from bertcompress.export.calibration import Calibration
from bertcompress.export.optimize import CANDIDATES, FusionChoice, Timer
from bertcompress.export.precisions import PRECISIONS, Made, Source, find_precision


def choose_fusions(converted: Path, timer: Timer, precision: str = "fp32") -> FusionChoice:
    """Make a file of the precision for every candidate, time them, and say which is the fastest.

    `converted` is what `export_onnx` wrote; `timer` is for instance `timer(Conditions(), vocab_size=30522)`.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name.replace(' ', '_')}.onnx" for name in CANDIDATES}
        for name, candidate in CANDIDATES.items():
            if candidate.branch_attention:
                continue
            write_precisions(converted, {precision: files[name]}, candidate)
            # Branching comes last: what it needs has been made.
            twin = replace(candidate, branch_attention=True)
            branched = next(files[other] for other, choice in CANDIDATES.items() if choice == twin)
            branch_attention(shutil.copy(files[name], branched))
        milliseconds = timer(files)
    fastest = CANDIDATES[min(CANDIDATES, key=milliseconds.__getitem__)]
    return replace(fastest, measured_ms={name: milliseconds[name] for name in CANDIDATES})


def write_precisions(
    converted: Path,
    paths: Mapping[str, Path],
    fusion: FusionChoice | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Made]:
    """Write the file of each precision to its path; says how narrowed ones were made.

    With a calibration, int8 keeps sensitive layers in fp32 where it has to (see sensitivity).

    Raises:
        ExportError: ONNX Runtime cannot load the graph, a word is no precision, or one that takes its scales
            from data has no calibration.
    """
    fusion = fusion or FusionChoice()
    precisions = [find_precision(word) for word in paths]
    if lacking := [each.word for each in precisions if each.needs_rows and calibration is None]:
        raise ExportError("; ".join(map(rows_missing, lacking)))
    made: dict[str, Made] = {}
    with tempfile.TemporaryDirectory() as folder:
        fp32 = paths.get("fp32", Path(folder) / "fp32.onnx")
        source = Source(converted, fp32, fusion, calibration)
        PRECISIONS["fp32"].write(source, fp32)
        for precision in precisions:
            if precision.word != "fp32" and (how := precision.write(source, paths[precision.word])):
                made[precision.word] = how
    if fusion.branch_attention:
        for precision in precisions:
            if precision.provider == "cpu":
                branch_attention(paths[precision.word])
    return made


def rows_missing(word: str) -> str:
    """Say that a precision needs rows of data, which were not given."""
    return f"{word}: takes its scales from data, and was given none; give rows, or leave it out"
