"""int8_weights: weights of dense layers in blocks of 8 bits, embeddings in int8, activations in fp32."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from bertcompress.export.precisions.precision import FileBytes, Made, Nodes, Precision, Source

# 32 weights a scale: the finest that the kernel takes without padding, and the most exact.
BLOCK_SIZE = 32


def blocked_layer_bytes(bits: int) -> Callable[[int, int], int]:
    """Return the bytes of a dense layer in blocks of a column, each with a scale, the last one filled up."""

    def size(inputs: int, outputs: int) -> int:
        return outputs * math.ceil(inputs / BLOCK_SIZE) * (BLOCK_SIZE * bits // 8 + 4)

    return size


def _write(source: Source, path: Path) -> Made:
    """Narrow the weights of the fp32 file."""
    from bertcompress.export.weight_only import narrow_weights

    return narrow_weights(source.fp32, path, bits=8).to_dict()


INT8_WEIGHTS = Precision(
    word="int8_weights",
    file_name="model_int8_weights.onnx",
    summary="weights alone in 8 bits: a smaller file at about the speed of fp32",
    write=_write,
    bytes=FileBytes(dense_layer=blocked_layer_bytes(8), table=1, other=4, graph=4_370, layer_nodes=-67),
    nodes=Nodes(dense=frozenset({"MatMulNBits"}), gelu="BiasGelu"),
    fusions_of="fp32",
)
