"""Does the exported graph hold what its architecture should give? A fusion that silently fails costs latency.

A chain's operators depend on each other in order, so their nodes stand in the file in the chain's order, and
each is told by an attribute: heads of attention, width of the bias before gelu (in int8: of the dense layer
before it), kernel of the convolution."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import onnx

from bertcompress.errors import ExportError
from bertcompress.export.packing import PACKED, PARTS
from bertcompress.space import Architecture

_FLOAT_NODES = {"mha": "MultiHeadAttention", "ffn": "BiasGelu", "conv": "Conv"}
_INT8_NODES = {**_FLOAT_NODES, "ffn": "Gelu"}
NODE_OF = {
    "fp32": _FLOAT_NODES,
    "fp16": _FLOAT_NODES,
    "int8_weights": _FLOAT_NODES,
    "int4_weights": _FLOAT_NODES,
    "int8": _INT8_NODES,
    "int8_static": _INT8_NODES,
}
DENSE_NODES = {
    "fp32": frozenset({"MatMul"}),
    "fp16": frozenset({"MatMul"}),
    "int8_weights": frozenset({"MatMulNBits"}),
    "int4_weights": frozenset({"MatMulNBits"}),
    # The first holds the scaling of its input too; all of them hold that of their output, and the bias.
    "int8": frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}),
    "int8_static": frozenset({"MatMulIntegerToFloat"}),
}
# Dense layers of one operator: query, key, value and output; both halves; the pointwise layer.
DENSE_LAYERS = {"mha": 4, "ffn": 2, "conv": 1}


def audit(
    path: Path | str, architecture: Architecture, *, precision: str = "fp32", num_kept: int = 0
) -> dict[str, Any]:
    """Counts of fused nodes that the architecture asks for and that an optimised file has: expected, found.

    `num_kept` dense layers may be in fp32 though the precision is another.

    Raises:
        ExportError: a position has no fused node of its kind and size, or a dense layer is not narrowed.
    """
    graph = onnx.load(path, load_external_data=False).graph
    expected = [operator.name for operator in architecture.operators]
    found = list(_chain(graph, precision))
    problems = _differences(expected, found, NODE_OF[precision])
    dense = " or ".join(sorted(DENSE_NODES[precision]))
    num_dense = sum(DENSE_LAYERS[operator.kind] for operator in architecture.operators) - num_kept
    # Packed projections are one layer, whose output is split (see packing).
    num_dense -= sum(len(PARTS) - 1 for node in graph.node if node.op_type == "Split" and PACKED in node.name)
    found_dense = sum(node.op_type in DENSE_NODES[precision] for node in graph.node)
    if found_dense < num_dense:
        problems.append(f"{dense}: {found_dense} nodes; the chain has {num_dense} dense layers")
    if problems:
        raise ExportError.from_problems(f"{path} (architecture {architecture.name})", problems)
    return {
        "expected": {**_counts(expected, NODE_OF[precision]), dense: num_dense},
        "found": {**_counts(found, NODE_OF[precision]), dense: found_dense},
    }


def _chain(graph: Any, precision: str) -> Iterator[str]:
    """The graph's operators in order, in the words of a recipe."""
    constants = {tensor.name: tensor.dims for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if heads := _attention_heads(node, attributes):
            yield f"mha{heads}"
        elif node.op_type == "Conv":
            yield f"conv{attributes['kernel_shape'].ints[-1]}"
        elif node.op_type == NODE_OF[precision]["ffn"]:
            width = _gelu_width(node, makers, constants, precision)
            if width is not None:
                yield f"ffn{width}"


def _attention_heads(node: Any, attributes: dict[str, Any]) -> int | None:
    """Heads of an attention node, or of both branches of an If that holds one in each; None of others."""
    if node.op_type == "MultiHeadAttention":
        return int(attributes["num_heads"].i)
    if node.op_type != "If":
        return None
    heads = [
        attribute.i
        for branch in ("then_branch", "else_branch")
        for inner in attributes[branch].g.node
        if inner.op_type == "MultiHeadAttention"
        for attribute in inner.attribute
        if attribute.name == "num_heads"
    ]
    return int(heads[0]) if len(heads) == 2 and heads[0] == heads[1] else None


def _gelu_width(node: Any, makers: dict[str, Any], constants: dict[str, Any], precision: str) -> int | None:
    """Inner width of the feed-forward that a gelu belongs to; None of a convolution's."""
    if node.op_type == "BiasGelu":
        weight = node.input[1]
    else:
        maker = makers.get(node.input[0])
        if maker is not None and maker.op_type == "Add":  # a dense layer that stayed in fp32
            return next((int(constants[name][0]) for name in maker.input if name in constants), None)
        if maker is None or maker.op_type not in DENSE_NODES[precision]:
            return None
        weight = maker.input[1]
    return int(constants[weight][-1]) if weight in constants else None


def _counts(names: list[str], nodes: dict[str, str]) -> dict[str, int]:
    return {node: sum(name.startswith(kind) for name in names) for kind, node in nodes.items()}


def _differences(expected: list[str], found: list[str], nodes: dict[str, str]) -> list[str]:
    """One problem for every position whose fused node is missing, and for every node that belongs to none."""
    problems = []
    matcher = SequenceMatcher(None, expected, found, autojunk=False)
    for tag, start, end, found_start, found_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        instead = (
            f"found {', '.join(found[found_start:found_end])}" if found_end > found_start else "found none"
        )
        wanted = [
            f"position {position}: {name} has no {nodes[name.rstrip('0123456789')]}"
            for position, name in enumerate(expected[start:end], start)
        ]
        problems += [f"{text} ({instead} there)" for text in wanted]
        if not wanted:
            problems.append(f"before position {start}: {instead}, which the architecture does not have")
    return problems
