"""How large an exported file will be, from the sizes of its architecture: no torch, nothing is written.

A precision declares what each kind of weight takes in its file, and what the nodes do (`Precision.bytes`)."""

from __future__ import annotations

from bertcompress.export.precisions import find_precision
from bertcompress.space import KINDS, Architecture, Dimensions

MIB = 2**20


def estimate_size_mib(architecture: Architecture, precision: str) -> float:
    """Return the MiB of the architecture's file in a precision: a sum over its operators and a constant.

    Raises:
        ExportError: the precision is unknown.
    """
    taken, dimensions = find_precision(precision).bytes, architecture.dimensions
    kinds = [(KINDS[operator.kind], operator.size) for operator in architecture.operators]
    chain_layers = [layer for kind, size in kinds for layer in kind.dense_layers(size, dimensions)]
    layers = [*_embedding_layers(dimensions), *chain_layers]
    table_weights = dimensions.vocab_size * dimensions.embedding_size
    table_weights += dimensions.type_vocab_size * dimensions.hidden_size
    dense_weights = sum(inputs * outputs for inputs, outputs in layers)
    kept = architecture.num_parameters - table_weights - dense_weights
    size = taken.other * kept + taken.table * table_weights + taken.graph
    size += sum(taken.dense_layer(inputs, outputs) for inputs, outputs in layers)
    size += sum(kind.graph_bytes for kind, _ in kinds) + taken.layer_nodes * len(chain_layers)
    return size / MIB


def _embedding_layers(dimensions: Dimensions) -> list[tuple[int, int]]:
    """Inputs and outputs of the dense layer of factorized embeddings, if there is one."""
    if dimensions.embedding_size == dimensions.hidden_size:
        return []
    return [(dimensions.embedding_size, dimensions.hidden_size)]
