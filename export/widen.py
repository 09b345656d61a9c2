"""Is a narrowed file wired as its network is? Asked of its logits, with nothing rounded but the weights.

In an int8 file every activation is rounded, which hides a node that takes the wrong one. So the file is
computed once with dense layers in fp32 on the weights that it holds, and PyTorch once with these weights:
then the logits have to agree as those of an fp32 file have to."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, helper, numpy_helper
from transformers import PreTrainedModel

from bertcompress.errors import VerificationError
from bertcompress.export.optimize import save_model
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.verify import Reference, compare, model_logits
from bertcompress.export.weights import FileWeights

ROUNDING = ("DynamicQuantizeLinear", "QuantizeLinear")
_WIDE = " in fp32"


def check_wiring(
    path: Path | str, model: PreTrainedModel, weights: FileWeights, reference: Reference, *, precision: str
) -> float:
    """Hold a file, its activations unrounded, against the model with the file's weights; the largest error.

    Asked of files whose precision has no tolerance: of the others the logits tell it themselves.
    `weights` are what `check_weights` found in the file; `reference` has the inputs.

    Raises:
        VerificationError: logits differ by more than those of an fp32 file may, or see widen.
    """
    path = Path(path)
    stored = copy.deepcopy(model)
    values = weights.stored()
    with torch.no_grad():
        for name, parameter in stored.named_parameters():
            parameter.copy_(torch.from_numpy(values[name]))
    logits = {name: model_logits(stored, feed) for name, feed in reference.feeds.items()}
    with tempfile.TemporaryDirectory() as folder:
        widened = widen(path, Path(folder) / "widened.onnx")
        found = compare(
            widened,
            replace(reference, logits=logits),
            precision=precision,
            tolerance=PRECISIONS["fp32"].tolerance,
        )
    return found.max_logit_error


def widen(path: Path, path_out: Path) -> Path:
    """Write a file with its dense layers in fp32, on the weights that it holds; activations stay unrounded.

    Blocks of few bits, and tables that are looked up, are exact as they are.

    Raises:
        VerificationError: a dense layer takes the levels of one activation with the scale of another, or a
            weight that is no constant.
    """
    model = onnx.load(path)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded: dict[str, NodeProto] = {}  # what rounds an activation, by the name of its levels
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type in ROUNDING:
            rounded[node.output[0]] = node
        elif node.op_type == "DynamicQuantizeMatMul":
            activation, weight, scale, zero_point, bias = _padded(node.input, 5)
            nodes += _dense(node, activation, (weight, scale, zero_point), bias, constants)
        elif node.op_type == "MatMulIntegerToFloat" and node.input[0] in rounded:
            levels, weight, level_scale, scale, level_zero, zero_point, bias = _padded(node.input, 7)
            rounding = rounded[levels]
            if [level_scale, level_zero] != _scaling(rounding):
                raise VerificationError(f"{path}: {node.name} takes {levels} with another activation's scale")
            nodes += _dense(node, rounding.input[0], (weight, scale, zero_point), bias, constants)
        else:
            nodes.append(node)
    graph.initializer.extend(
        numpy_helper.from_array(constants[name], name)
        for name in {name for node in nodes for name in node.input if name.endswith(_WIDE)}
    )
    del graph.node[:]
    graph.node.extend(nodes)
    return save_model(model, path_out)


def _padded(names: Sequence[str], number: int) -> list[str]:
    """A node's inputs, those that it leaves out as empty names."""
    return [*names, *[""] * number][:number]


def _scaling(rounding: NodeProto) -> list[str]:
    """The scale and the zero point that levels were rounded with: computed there, or constants."""
    return list(rounding.output[1:] if rounding.op_type == "DynamicQuantizeLinear" else rounding.input[1:])


def _dense(
    node: NodeProto,
    activation: str,
    narrowed: tuple[str, str, str],
    bias: str,
    constants: dict[str, np.ndarray],
) -> list[NodeProto]:
    """The nodes that compute a dense layer in fp32; its weight joins the constants."""
    weight, scale, zero_point = narrowed
    if missing := [name for name in narrowed if name and name not in constants]:
        raise VerificationError(f"{node.name}: {missing[0]} is computed; it has to be a constant of the file")
    levels = constants[weight].astype(np.float32)
    if zero_point:
        levels -= constants[zero_point].astype(np.float32)
    wide = f"{weight}{_WIDE}"
    constants[wide] = levels * constants[scale]
    output = node.output[0]
    product = f"{output} before its bias" if bias else output
    nodes = [helper.make_node("MatMul", [activation, wide], [product], name=node.name)]
    if bias:
        nodes.append(helper.make_node("Add", [product, bias], [output], name=f"{node.name}_bias"))
    return nodes
