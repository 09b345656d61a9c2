"""Attention without padding takes ONNX Runtime's flash kernel, which knows no mask; with padding it does not.

A row that is alone in its batch is never padded. Every MultiHeadAttention becomes an If on
"nothing is padded", which is asked once a call: the same node without its mask, or with it. The node holds
no weights that would be there twice."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

ATTENTION = "MultiHeadAttention"
MASK_INPUT = 4
_NO_PADDING = "no_padding"


def branch_attention(path: Path | str) -> Path:
    """Rewrite the file in place; weights in a second file stay there, a file without attention as it is.

    To be applied last: what comes after would have to look into both branches.
    """
    path = Path(path)
    model = onnx.load(path, load_external_data=False)
    nodes: list[NodeProto] = []
    conditions: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != ATTENTION or len(node.input) <= MASK_INPUT:
            nodes.append(node)
            continue
        mask = node.input[MASK_INPUT]
        if mask not in conditions:
            conditions[mask] = f"{_NO_PADDING}_{len(conditions)}"
            nodes += _ask_for_padding(mask, conditions[mask])
        nodes.append(_branch(node, conditions[mask]))
    if conditions:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        onnx.save(model, path)
    return path


def _ask_for_padding(mask: str, condition: str) -> list[NodeProto]:
    """Whether the mask (B, T) of int32 holds ones only, as a boolean scalar named `condition`."""
    lowest = f"{condition}_lowest"
    return [
        helper.make_node("ReduceMin", [mask], [lowest], name=lowest, keepdims=0),
        helper.make_node("Cast", [lowest], [condition], name=condition, to=TensorProto.BOOL),
    ]


def _branch(node: NodeProto, condition: str) -> NodeProto:
    """The If that stands for an attention node and gives its output."""
    branches = {}
    for branch, inputs in (("then", node.input[:MASK_INPUT]), ("else", node.input)):
        copied = NodeProto()
        copied.CopyFrom(node)
        copied.name = f"{node.name}_{branch}"
        output = f"{node.output[0]}_{branch}"
        del copied.input[:], copied.output[:]
        copied.input.extend(inputs)
        copied.output.append(output)
        given = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        branches[f"{branch}_branch"] = helper.make_graph([copied], copied.name, [], [given])
    return helper.make_node("If", [condition], list(node.output), name=f"{node.name}_if", **branches)
