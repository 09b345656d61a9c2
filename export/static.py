"""Static int8: the scales of activations are constants, read off the user's data once (Nagel et al. 2021,
arXiv 2106.08295, section 3).

Made from the dynamic file, whose weights it shares bit for bit: what scales an activation as it comes becomes
a QuantizeLinear of constants, and the dense layer behind it goes on giving floats. That is faster than ONNX
Runtime's own static forms, QOperator and QDQ, which also round what a dense layer gives, and more exact; and
a row's logits no longer depend on the rows beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from bertcompress.export.optimize import save_model
from bertcompress.export.verify import Feed
from bertcompress.measure import session

SCALED_AS_THEY_COME = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")
LEVELS = 255
# Shares of the whole range that are tried for the smallest squared error.
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
MOST_SAMPLES = 1 << 16
Ranges: TypeAlias = Mapping[str, Sequence[float]]  # lowest and highest value by tensor


def activation_ranges(fp32: Path, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, Ranges]:
    """Lowest and highest values of the named tensors on the feeds: "whole" ranges, and of "least error".

    The second clip what is rare, where that makes the squared error of all the rest smaller.
    """
    if not names:
        return {"whole": {}, "least error": {}}
    # Beside the file, where its external weights are found.
    watched = fp32.with_name(f".{fp32.stem}.watched.onnx")
    model = onnx.load(fp32, load_external_data=False)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in names)
    onnx.save(model, watched)
    try:
        opened = session(watched, num_threads=1)
    finally:
        watched.unlink()
    whole = dict.fromkeys(names, (0.0, 0.0))  # zero has a level of its own
    samples: dict[str, list[np.ndarray]] = {name: [] for name in names}
    taken = {graph_input.name for graph_input in opened.get_inputs()}
    for feed in feeds:
        given = {key: value for key, value in feed.items() if key in taken}
        for name, values in zip(names, opened.run(list(names), given), strict=True):
            low, high = whole[name]
            whole[name] = min(low, float(values.min())), max(high, float(values.max()))
            stride = max(1, values.size * len(feeds) // MOST_SAMPLES)
            samples[name].append(values.reshape(-1)[::stride])
    least = {name: _least_error(np.concatenate(samples[name]), whole[name]) for name in names}
    return {"whole": whole, "least error": least}


def _least_error(values: np.ndarray, whole: tuple[float, float]) -> tuple[float, float]:
    """The part of the whole range that rounds the values with the smallest squared error."""

    def error(share: float) -> float:
        scale, zero_point = scaling((whole[0] * share, whole[1] * share))
        levels = np.clip(np.round(values / scale) + zero_point, 0, LEVELS)
        return float(np.mean(((levels - zero_point) * scale - values) ** 2))

    share = min(SHARES, key=error)
    return whole[0] * share, whole[1] * share


def scaling(span: Sequence[float]) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of unsigned 8 bits for a range that holds zero."""
    low, high = span
    scale = np.float32(max((high - low) / LEVELS, float(np.finfo(np.float32).tiny)))
    return scale, np.uint8(np.clip(np.round(-low / scale), 0, LEVELS))


def dense_inputs(fp32: Path) -> list[str]:
    """The tensors that dense layers of a graph take, each once, in order: what may have to be scaled."""
    graph = onnx.load(fp32, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    dense = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]
    return list(dict.fromkeys(node.input[0] for node in dense))


def freeze_scales(dynamic: Path, path_out: Path, ranges: Ranges) -> Path:
    """Write a dynamic int8 file with the scales of the ranges, which hold every activation that it scales."""
    model = onnx.load(dynamic)
    frozen: dict[str, _Frozen] = {}
    nodes: list[NodeProto] = []
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if node.op_type not in SCALED_AS_THEY_COME:
            nodes.append(node)
            continue
        activation = node.input[0]
        if activation not in frozen:
            frozen[activation] = _freeze(activation, ranges[activation], model.graph)
            nodes.append(_quantize_linear(frozen[activation]))
        if node.op_type == "DynamicQuantizeLinear":
            renamed.update(zip(node.output, frozen[activation][1:], strict=True))
        else:
            nodes.append(_dense(node, frozen[activation]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return save_model(model, path_out)


# An activation, and what stands for it: its levels, scale and zero point.
_Frozen: TypeAlias = tuple[str, str, str, str]


def _freeze(activation: str, span: Sequence[float], graph: Any) -> _Frozen:
    """Add scale and zero point of an activation to the graph's constants."""
    names = (activation, f"{activation}_levels", f"{activation}_scale", f"{activation}_zero_point")
    scale, zero_point = scaling(span)
    graph.initializer.append(numpy_helper.from_array(np.asarray(scale), names[2]))
    graph.initializer.append(numpy_helper.from_array(np.asarray(zero_point), names[3]))
    return names


def _quantize_linear(frozen: _Frozen) -> NodeProto:
    activation, levels, scale, zero_point = frozen
    name = f"{activation}_quantize"
    return helper.make_node("QuantizeLinear", [activation, scale, zero_point], [levels], name=name)


def _dense(node: NodeProto, frozen: _Frozen) -> NodeProto:
    """The dense layer (activation, weight, its scale, zero point, bias) on levels of a constant scale."""
    weight, weight_scale, weight_zero_point, bias = [*node.input[1:], "", "", ""][:4]
    _, levels, scale, zero_point = frozen
    inputs = [levels, weight, scale, weight_scale, zero_point, weight_zero_point, bias]
    return helper.make_node(
        "MatMulIntegerToFloat", inputs, list(node.output), name=node.name, domain=node.domain
    )
