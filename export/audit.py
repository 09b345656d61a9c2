"""Does the exported graph hold what its architecture should give? A fusion that silently fails costs latency.

A chain's operators depend on each other in order, so their nodes stand in the file in the chain's order, and
each is told by an attribute: heads of attention, width of the bias before gelu, kernel of the convolution."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import onnx

from bertcompress.errors import ExportError
from bertcompress.space import Architecture

NODE_OF = {"mha": "MultiHeadAttention", "ffn": "BiasGelu", "conv": "Conv"}
# Dense layers of one operator: query, key, value and output; both halves; the pointwise layer.
DENSE_LAYERS = {"mha": 4, "ffn": 2, "conv": 1}


def audit(path: Path | str, architecture: Architecture, *, precision: str = "fp32") -> dict[str, Any]:
    """Counts of fused nodes that the architecture asks for and that an optimised file has: expected, found.

    Raises:
        ExportError: a position has no fused node of its kind and size, or int8 has left dense layers in fp32.
    """
    graph = onnx.load(path, load_external_data=False).graph
    expected = [operator.name for operator in architecture.operators]
    found = _chain(graph)
    problems = _differences(expected, found)
    dense_type = "MatMulInteger" if precision == "int8" else "MatMul"
    num_dense = sum(DENSE_LAYERS[operator.kind] for operator in architecture.operators)
    found_dense = sum(node.op_type in {dense_type, "DynamicQuantizeMatMul"} for node in graph.node)
    if found_dense < num_dense:
        problems.append(f"{dense_type}: {found_dense} nodes; the chain has {num_dense} dense layers")
    if problems:
        raise ExportError.from_problems(f"{path} (architecture {architecture.name})", problems)
    return {
        "expected": {**_counts(expected), dense_type: num_dense},
        "found": {**_counts(found), dense_type: found_dense},
    }


def _chain(graph: Any) -> list[str]:
    """The graph's operators in order, in the words of a recipe."""
    names = []
    constants = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "MultiHeadAttention":
            names.append(f"mha{attributes['num_heads'].i}")
        elif node.op_type == "BiasGelu":
            names.append(f"ffn{constants[node.input[1]][0]}")
        elif node.op_type == "Conv":
            names.append(f"conv{attributes['kernel_shape'].ints[-1]}")
    return names


def _counts(names: list[str]) -> dict[str, int]:
    return {node: sum(name.startswith(kind) for name in names) for kind, node in NODE_OF.items()}


def _differences(expected: list[str], found: list[str]) -> list[str]:
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
            f"position {position}: {name} has no {NODE_OF[name.rstrip('0123456789')]}"
            for position, name in enumerate(expected[start:end], start)
        ]
        problems += [f"{text} ({instead} there)" for text in wanted]
        if not wanted:
            problems.append(f"before position {start}: {instead}, which the architecture does not have")
    return problems
