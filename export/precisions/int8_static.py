"""int8_static: as int8, with constant scales of activations that are read off rows of the user's data."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bertcompress.export.precisions.int8 import quantized_layer_bytes, vnni_missing, weight_bits
from bertcompress.export.precisions.precision import FileBytes, Made, Nodes, Precision, Source


def _write(source: Source, path: Path) -> Made:
    """Narrow the fp32 file by the ranges that change the logits less; sensitive layers may stay in fp32."""
    from bertcompress.export.calibration import logit_change
    from bertcompress.export.quantize import quantize_int8
    from bertcompress.export.sensitivity import keep_sensitive
    from bertcompress.export.static import activation_ranges, dense_inputs, freeze_scales

    fp32, calibration = source.fp32, source.calibration
    assert calibration is not None, "needs_rows"
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


def _check(path: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """Hold the file's scales against the ranges that calibration found."""
    from bertcompress.export.scales import check_scales

    return {"scales_checked": check_scales(path, made["activations"])}


INT8_STATIC = Precision(
    word="int8_static",
    file_name="model_int8_static.onnx",
    summary="as int8, with constant scales read off rows of data",
    write=_write,
    bytes=FileBytes(dense_layer=quantized_layer_bytes, table=1, other=4, graph=4_260, layer_nodes=122),
    nodes=Nodes(dense=frozenset({"MatMulIntegerToFloat"}), gelu="Gelu"),
    fusions_of="int8",
    check=_check,
    slow_for_want_of=vnni_missing,
    how_made=lambda made: (
        f"weights of {weight_bits(made)} bits, scales of activations read off rows of data, once (static)."
    ),
    limits=(
        "int8_static has constant scales: a row's logits do not depend on the rows beside it. What lies",
        "  beyond the activations of the rows that the scales were read off is cut off.",
    ),
)
