"""From a converted graph to the file of every precision: fused, packed, narrowed, and branched last.

Which of the doubtful fusions a file has is decided by timing a file of every kind, fp32 and int8 apart: what
is faster in one need not be so in the other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertcompress.errors import ExportError
from bertcompress.export.attention import branch_attention
from bertcompress.export.calibration import Calibration, logit_change
from bertcompress.export.half import convert_fp16
from bertcompress.export.optimize import CANDIDATES, FusionChoice, Timer, optimize
from bertcompress.export.packing import pack_projections
from bertcompress.export.quantize import Quantization, needs_reduced_range, quantize_int8
from bertcompress.export.sensitivity import keep_sensitive
from bertcompress.export.static import activation_ranges, dense_inputs, freeze_scales
from bertcompress.export.weight_only import BITS, narrow_weights

# Half precision runs on GPUs: of the doubtful fusions it takes those of the layer norms alone.
FOR_GPUS = ("fp16",)
# The precision whose times decide the fusions of each.
DECIDED_BY = {
    "fp32": "fp32",
    "fp16": "fp32",
    "int8_weights": "fp32",
    "int4_weights": "fp32",
    "int8": "int8",
    "int8_static": "int8",
}


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
) -> dict[str, dict[str, Any]]:
    """Write the file of each precision to its path (see runtime.FILE_OF); says how narrowed ones were made.

    With a calibration, int8 keeps sensitive layers in fp32 where it has to (see sensitivity).

    Raises:
        ExportError: ONNX Runtime cannot load the graph, or int8_static lacks a calibration.
    """
    fusion = fusion or FusionChoice()
    if "int8_static" in paths and calibration is None:
        raise ExportError(
            "int8_static: takes its scales from data, and was given none; give rows, or use int8"
        )
    made: dict[str, dict[str, Any]] = {}
    fused = fusion.fuse_skip_layer_norm
    with tempfile.TemporaryDirectory() as folder:
        fp32 = paths.get("fp32", Path(folder) / "fp32.onnx")
        optimize(converted, fp32, fuse_skip_layer_norm=fused)
        if fusion.pack_projections:
            pack_projections(fp32)
        if "int8" in paths:
            made["int8"] = _write_int8(fp32, paths["int8"], calibration)
        if "int8_static" in paths and calibration is not None:
            made["int8_static"] = _write_int8_static(fp32, paths["int8_static"], calibration)
        for name, bits in BITS.items():
            if name in paths:
                made[name] = narrow_weights(fp32, paths[name], bits=bits).to_dict()
        if "fp16" in paths:
            for_cuda = optimize(
                converted, Path(folder) / "cuda.onnx", fuse_skip_layer_norm=fused, for_cuda=True
            )
            convert_fp16(for_cuda, paths["fp16"])
    if fusion.branch_attention:
        for name, path in paths.items():
            if name not in FOR_GPUS:
                branch_attention(path)
    return made


def _write_int8(fp32: Path, path: Path, calibration: Calibration | None) -> dict[str, Any]:
    """The dynamic int8 file: how it was made."""
    if calibration is None:
        return quantize_int8(fp32, path).to_dict()
    found = keep_sensitive(
        fp32, path, lambda target, kept: quantize_int8(fp32, target, kept=kept), calibration
    )
    return {**Quantization(needs_reduced_range()).to_dict(), "sensitivity": found.to_dict()}


def _write_int8_static(fp32: Path, path: Path, calibration: Calibration) -> dict[str, Any]:
    """The static int8 file, by the ranges that change the logits less: how it was made."""
    ranges = activation_ranges(fp32, dense_inputs(fp32), calibration.feeds)
    change = {}
    with tempfile.TemporaryDirectory() as folder:
        dynamic = Path(folder) / "dynamic.onnx"
        chosen = quantize_int8(fp32, dynamic)
        expected = calibration.logits(fp32)
        for name, candidate in ranges.items():
            freeze_scales(dynamic, path, candidate)
            change[name] = logit_change(calibration.logits(path), expected)
        best = min(change, key=change.__getitem__)

        def make(target: Path, kept: Collection[str]) -> None:
            quantize_int8(fp32, dynamic, kept=kept)
            freeze_scales(dynamic, target, ranges[best])

        sensitivity = keep_sensitive(fp32, path, make, calibration)
    return {
        **chosen.to_dict(),
        "ranges": best,
        "activations": {name: list(span) for name, span in ranges[best].items()},
        "logit_change": change,
        "sensitivity": sensitivity.to_dict(),
    }
