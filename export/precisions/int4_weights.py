"""int4_weights: weights of dense layers in blocks of 4 bits, embeddings in int8, activations in fp32."""

from __future__ import annotations

from pathlib import Path

from bertcompress.export.precisions.int8_weights import blocked_layer_bytes
from bertcompress.export.precisions.precision import FileBytes, Made, Nodes, Precision, Source


def _write(source: Source, path: Path) -> Made:
    """Narrow the weights of the fp32 file."""
    from bertcompress.export.weight_only import narrow_weights

    return narrow_weights(source.fp32, path, bits=4).to_dict()


INT4_WEIGHTS = Precision(
    word="int4_weights",
    file_name="model_int4_weights.onnx",
    summary="weights alone in 4 bits: a smaller file at about the speed of fp32",
    write=_write,
    bytes=FileBytes(dense_layer=blocked_layer_bytes(4), table=1, other=4, graph=4_360, layer_nodes=-67),
    nodes=Nodes(dense=frozenset({"MatMulNBits"}), gelu="BiasGelu"),
    fusions_of="fp32",
)
