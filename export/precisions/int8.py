"""int8: dense layers and embeddings in 8 bits, activations scaled as they come (dynamically)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertcompress.export.precisions.precision import FileBytes, Made, Nodes, Precision, Source


def _write(source: Source, path: Path) -> Made:
    """Narrow the fp32 file; with a calibration, layers that int8 would harm too much stay in fp32."""
    from bertcompress.export.quantize import Quantization, needs_reduced_range, quantize_int8
    from bertcompress.export.sensitivity import keep_sensitive

    if source.calibration is None:
        return quantize_int8(source.fp32, path).to_dict()
    found = keep_sensitive(
        source.fp32,
        path,
        lambda target, kept: quantize_int8(source.fp32, target, kept=kept),
        source.calibration,
    )
    return {**Quantization(needs_reduced_range()).to_dict(), "sensitivity": found.to_dict()}


def vnni_missing(provider: str) -> str | None:
    """Return "VNNI" where this processor multiplies 8 bits without instructions of its own for it."""
    from bertcompress.export.quantize import needs_reduced_range

    return "VNNI" if provider == "cpu" and needs_reduced_range() else None


def weight_bits(made: Mapping[str, Any]) -> int:
    """Return the bits that weights were rounded to."""
    return 7 if made["reduce_range"] else 8


def quantized_layer_bytes(inputs: int, outputs: int) -> int:
    """Return the bytes of a dense layer in 8 bits: weights, and a scale and a zero point for each output."""
    return inputs * outputs + (4 + 1) * outputs


INT8 = Precision(
    word="int8",
    file_name="model_int8.onnx",
    summary="dense layers and embeddings in 8 bits, activations scaled as they come",
    write=_write,
    bytes=FileBytes(dense_layer=quantized_layer_bytes, table=1, other=4, graph=4_150, layer_nodes=16),
    # The first holds the scaling of its input too; both hold that of their output, and the bias.
    nodes=Nodes(dense=frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}), gelu="Gelu"),
    fusions_of="int8",
    slow_for_want_of=vnni_missing,
    how_made=lambda made: (
        f"weights of {weight_bits(made)} bits, scales of activations as they come (dynamic)."
    ),
    limits=(
        "int8 takes its scales over the whole batch: a row's logits depend a little on the rows and the",
        "  padding beside it. Classify a row alone where the same answer every time counts.",
    ),
)
