"""From a converted graph to the file of every precision: fused, quantized, and branched last."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from bertcompress.export.attention import branch_attention
from bertcompress.export.optimize import FusionChoice, optimize
from bertcompress.export.quantize import Quantization, quantize_int8


def write_precisions(
    converted: Path, paths: Mapping[str, Path], fusion: FusionChoice | None = None
) -> dict[str, Quantization]:
    """Write the file of each precision ("fp32", "int8") to its path; says how the quantized ones were made.

    Raises:
        ExportError: ONNX Runtime cannot load the graph.
    """
    fusion = fusion or FusionChoice()
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        fp32 = paths.get("fp32", Path(folder) / "fp32.onnx")
        optimize(converted, fp32, fuse_skip_layer_norm=fusion.fuse_skip_layer_norm)
        if "int8" in paths:
            made["int8"] = quantize_int8(fp32, paths["int8"])
    if fusion.branch_attention:
        for path in paths.values():
            branch_attention(path)
    return made
