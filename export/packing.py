"""Query, key and value as one matrix product, which threads share better than three small ones.

The packed weight has the columns of the query, of the key and of the value side by side, as that of ONNX
Runtime's Attention. Here a Split and MultiHeadAttention take that node's place: they have a flash kernel (see
attention), read masks with holes, and leave the product to int8. Where the query is asked of the first token
only there are two inputs, and its three products stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from bertcompress.errors import ExportError
from bertcompress.export.attention import ATTENTION
from bertcompress.export.optimize import save_model
from bertcompress.export.weight_only import BLOCK_SCALES, BLOCKED

PARTS = ("query", "key", "value")
# In the name of a packed weight (D, 3 * H), of its bias (3 * H), and of whatever a quantizer makes of them.
PACKED = "+".join(PARTS)


def pack_projections(path: Path | str) -> Path:
    """Rewrite a file of `optimize` in place, its weights too; one without attention stays as it is.

    Raises:
        ExportError: query, key and value of an attention are not three dense layers.
    """
    path = Path(path)
    model = onnx.load(path)
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    before: dict[str, list[NodeProto]] = {}  # what comes before an attention, by its output
    replaced: set[str] = set()
    for number, attention in enumerate(node for node in graph.node if node.op_type == ATTENTION):
        layers = [_dense_layer(name, makers, constants) for name in attention.input[: len(PARTS)]]
        found = [layer for layer in layers if layer is not None]
        if len(found) < len(PARTS):
            raise ExportError(f"{path}: query, key and value of {attention.name} are no dense layers")
        if len({layer.activation for layer in found}) > 1:
            continue
        tensors, nodes = _pack(f"attention.{number}.{PACKED}", found)
        graph.initializer.extend(tensors)
        before[attention.output[0]] = nodes
        replaced |= {output for layer in found for output in layer.outputs}
        for index, output in enumerate(nodes[-1].output):
            attention.input[index] = output
    if not before:
        return path
    nodes = [
        node
        for old in graph.node
        if old.output[0] not in replaced
        for node in (*before.get(old.output[0], ()), old)
    ]
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # it would be written to the end of it
    return save_model(model, path)


def unpacked(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A file's tensors by name, of each packed one its three parts ("query of NAME", and so on).

    Parts lie side by side in the last axis; in blocks of few bits and their scales, in the first.
    """
    parts: dict[str, np.ndarray] = {}
    for name, values in tensors.items():
        if PACKED not in name or not values.ndim:
            parts[name] = values
            continue
        axis = 0 if name.endswith((*BLOCKED, BLOCK_SCALES)) else -1
        for part, piece in zip(PARTS, np.split(values, len(PARTS), axis), strict=True):
            parts[f"{part} of {name}"] = piece
    return parts


@dataclass(frozen=True)
class _DenseLayer:
    """A dense layer of a graph: input, weight (D, H), bias (H), and the tensors that it computes."""

    activation: str
    weight: np.ndarray
    bias: np.ndarray
    outputs: tuple[str, ...]


def _dense_layer(
    name: str, makers: Mapping[str, NodeProto], constants: Mapping[str, TensorProto]
) -> _DenseLayer | None:
    """The dense layer that computes a tensor; None where none does. A bias of zeros is left out of files."""
    node, bias = makers.get(name), None
    outputs: tuple[str, ...] = (name,)
    if node is not None and node.op_type == "Add" and node.input[1] in constants:
        bias = numpy_helper.to_array(constants[node.input[1]])
        outputs = (name, node.input[0])
        node = makers.get(node.input[0])
    if node is None or node.op_type != "MatMul" or node.input[1] not in constants:
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    bias = np.zeros(weight.shape[1], weight.dtype) if bias is None else bias
    return _DenseLayer(node.input[0], weight, bias, outputs)


def _pack(name: str, layers: Sequence[_DenseLayer]) -> tuple[list[TensorProto], list[NodeProto]]:
    """Weight and bias of all layers, and the nodes that compute their outputs; the last one splits them."""
    weight, bias, product, total = (f"{name}.{what}" for what in ("weight", "bias", "product", "sum"))
    tensors = [
        numpy_helper.from_array(np.concatenate([layer.weight for layer in layers], axis=1), weight),
        numpy_helper.from_array(np.concatenate([layer.bias for layer in layers]), bias),
    ]
    outputs = [f"{name}.{part}" for part in PARTS]
    return tensors, [
        helper.make_node("MatMul", [layers[0].activation, weight], [product], name=product),
        helper.make_node("Add", [product, bias], [total], name=total),
        helper.make_node("Split", [total], outputs, name=f"{name}.split", axis=-1, num_outputs=len(PARTS)),
    ]
