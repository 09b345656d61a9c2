"""How large an exported file will be, from the sizes of its architecture alone: no torch, nothing is written.

Every weight takes 4 bytes in fp32. In int8 those of the words, the segments and the dense layers of the chain
take 1, and every output of such a layer 5 more for its scale and zero point; the rest stays in fp32. The
graph itself adds what was read off exported files.
"""

from __future__ import annotations

from dataclasses import dataclass

from bertcompress.errors import ExportError
from bertcompress.space import Architecture, Dimensions, Operator

MIB = 2**20
FP32_BYTES, INT8_BYTES, BYTES_PER_OUTPUT = 4, 1, 5


@dataclass(frozen=True)
class GraphBytes:
    """What the nodes of a file take besides its weights: once, and for each operator by kind."""

    constant: int
    mha: int
    ffn: int
    conv: int


GRAPH_BYTES = {"fp32": GraphBytes(4_100, 2_450, 1_250, 1_980), "int8": GraphBytes(4_500, 3_050, 1_420, 2_040)}


def estimate_size_mib(architecture: Architecture, precision: str) -> float:
    """Size in MiB of the architecture's file at a precision: a sum over its operators and a constant.

    Raises:
        ExportError: the precision is unknown.
    """
    if precision not in GRAPH_BYTES:
        raise ExportError(f"precision: {precision!r} has no estimate; use one of {', '.join(GRAPH_BYTES)}")
    graph, dimensions = GRAPH_BYTES[precision], architecture.dimensions
    size = FP32_BYTES * architecture.num_parameters + graph.constant
    size += sum(int(getattr(graph, operator.kind)) for operator in architecture.operators)
    if precision == "int8":
        narrowed, outputs = _narrowed_embeddings(dimensions)
        for operator in architecture.operators:
            weights, of_operator = _dense_layers(operator, dimensions)
            narrowed, outputs = narrowed + weights, outputs + of_operator
        size += BYTES_PER_OUTPUT * outputs - (FP32_BYTES - INT8_BYTES) * narrowed
    return size / MIB


def _narrowed_embeddings(dimensions: Dimensions) -> tuple[int, int]:
    """Weights of the embeddings that int8 narrows, and outputs with a scale of their own."""
    tables = dimensions.vocab_size * dimensions.embedding_size
    tables += dimensions.type_vocab_size * dimensions.hidden_size
    if dimensions.embedding_size == dimensions.hidden_size:
        return tables, 0
    return tables + dimensions.embedding_size * dimensions.hidden_size, dimensions.hidden_size


def _dense_layers(operator: Operator, dimensions: Dimensions) -> tuple[int, int]:
    """Weights and outputs of an operator's dense layers."""
    hidden = dimensions.hidden_size
    if operator.kind == "mha":
        inner = operator.size * dimensions.head_size
        return 4 * hidden * inner, 3 * inner + hidden
    if operator.kind == "ffn":
        return 2 * hidden * operator.size, operator.size + hidden
    return hidden * hidden, hidden
