"""How large an exported file will be, from the sizes of its architecture: no torch, nothing is written.

Every weight takes 4 bytes in fp32 and 2 in fp16. In int8 those of the words, the segments and the dense
layers of the chain take 1, and every output of such a layer 5 more for its scale and zero point; the rest
stays in fp32. Where weights alone are narrowed, blocks of a column have 4 bytes for their scale. The graph
itself adds what was read off exported files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bertcompress.errors import ExportError
from bertcompress.space import KINDS, Architecture, Dimensions

MIB = 2**20
FP32_BYTES, FP16_BYTES, INT8_BYTES, BYTES_PER_OUTPUT = 4, 2, 1, 5
BLOCK_SIZE, BYTES_PER_BLOCK = 32, 4


@dataclass(frozen=True)
class GraphBytes:
    """What the nodes of a file take besides its weights.

    Once, and for each dense layer of an operator beyond what the operator's own nodes take in fp32, which its
    kind declares (`OperatorKind.graph_bytes`).
    """

    constant: int
    dense_layer: int


GRAPH_BYTES = {
    "fp32": GraphBytes(4_100, 0),
    "int8": GraphBytes(4_500, 130),
    "int8_static": GraphBytes(4_500, 230),
    "fp16": GraphBytes(4_540, -80),
    "int8_weights": GraphBytes(4_500, 130),
    "int4_weights": GraphBytes(4_440, 130),
}


def estimate_size_mib(architecture: Architecture, precision: str) -> float:
    """Size in MiB of the architecture's file at a precision: a sum over its operators and a constant.

    Raises:
        ExportError: the precision is unknown.
    """
    if precision not in GRAPH_BYTES:
        raise ExportError(f"precision: {precision!r} has no estimate; use one of {', '.join(GRAPH_BYTES)}")
    graph, dimensions = GRAPH_BYTES[precision], architecture.dimensions
    kinds = [(KINDS[operator.kind], operator.size) for operator in architecture.operators]
    chain_layers = [layer for kind, size in kinds for layer in kind.dense_layers(size, dimensions)]
    layers = [*_embedding_layers(dimensions), *chain_layers]
    table_weights = dimensions.vocab_size * dimensions.embedding_size
    table_weights += dimensions.type_vocab_size * dimensions.hidden_size
    dense_weights = sum(inputs * outputs for inputs, outputs in layers)
    kept = architecture.num_parameters - table_weights - dense_weights
    size = (
        KEPT_BYTES.get(precision, FP32_BYTES) * kept + TABLE_BYTES.get(precision, INT8_BYTES) * table_weights
    )
    size += graph.constant
    size += sum(DENSE_BYTES[precision](inputs, outputs) for inputs, outputs in layers)
    size += sum(kind.graph_bytes for kind, _ in kinds) + graph.dense_layer * len(chain_layers)
    return size / MIB


def _int8_bytes(inputs: int, outputs: int) -> int:
    return INT8_BYTES * inputs * outputs + BYTES_PER_OUTPUT * outputs


def _blocked_bytes(bits: int) -> Callable[[int, int], int]:
    """Columns in blocks, the last of which is filled up."""

    def size(inputs: int, outputs: int) -> int:
        return outputs * math.ceil(inputs / BLOCK_SIZE) * (BLOCK_SIZE * bits // 8 + BYTES_PER_BLOCK)

    return size


# Bytes of a dense layer's weights by its inputs and outputs.
DENSE_BYTES: dict[str, Callable[[int, int], int]] = {
    "fp32": lambda inputs, outputs: FP32_BYTES * inputs * outputs,
    "fp16": lambda inputs, outputs: FP16_BYTES * inputs * outputs,
    "int8": _int8_bytes,
    "int8_static": _int8_bytes,
    "int8_weights": _blocked_bytes(8),
    "int4_weights": _blocked_bytes(4),
}
# Bytes of a weight of the words and segments, int8 if not here, and of what is neither, fp32 if not here.
TABLE_BYTES = {"fp32": FP32_BYTES, "fp16": FP16_BYTES}
KEPT_BYTES = {"fp16": FP16_BYTES}


def _embedding_layers(dimensions: Dimensions) -> list[tuple[int, int]]:
    """Inputs and outputs of the dense layer of factorized embeddings, if there is one."""
    if dimensions.embedding_size == dimensions.hidden_size:
        return []
    return [(dimensions.embedding_size, dimensions.hidden_size)]
