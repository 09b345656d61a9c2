"""int8_weights: weights of dense layers in blocks of 8 bits, embeddings in int8, activations in fp32."""

from __future__ import annotations

from pathlib import Path

from bertcompress.export.precisions.precision import Made, Precision, Source


def _write(source: Source, path: Path) -> Made:
    """Narrow the weights of the fp32 file."""
    from bertcompress.export.weight_only import narrow_weights

    return narrow_weights(source.fp32, path, bits=8).to_dict()


INT8_WEIGHTS = Precision(
    word="int8_weights",
    file_name="model_int8_weights.onnx",
    summary="weights alone in 8 bits: a smaller file at about the speed of fp32",
    write=_write,
    fusions_of="fp32",
)
