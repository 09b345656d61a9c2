"""Does a static int8 file scale its activations as calibration found? Asked of the bytes, not of the logits.

Logits cannot tell: by a scale half as large again, or of the layer before, an activation is only rounded more
coarsely or cut off, which is what int8 does anyway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from bertcompress.errors import VerificationError
from bertcompress.export.static import Ranges, scaling


def check_scales(path: Path | str, ranges: Ranges) -> int:
    """Hold the scales of a static file against the activations' ranges; gives back how many it scales.

    Both where an activation is quantized and in every dense layer that takes its levels, scale and zero point
    must be those of its range, bit for bit.

    Raises:
        VerificationError: a scale or a zero point is another, or an activation has no range.
    """
    graph = onnx.load(path, load_external_data=False).graph
    single = (tensor for tensor in graph.initializer if not tensor.dims)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in single}
    activations: dict[str, str] = {}  # by the name of their levels
    problems = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            activation, scale, zero_point = node.input
            activations[node.output[0]] = activation
        elif node.op_type == "MatMulIntegerToFloat":
            levels, _, scale, _, zero_point = node.input[:5]
            activation = activations.get(levels, levels)
        else:
            continue
        found = constants.get(scale), constants.get(zero_point)
        problems += [f"{node.name}: {problem}" for problem in _differences(activation, found, ranges)]
    if problems:
        raise VerificationError.from_problems(f"{path} (int8_static)", problems)
    return len(activations)


def _differences(
    activation: str, found: tuple[np.ndarray | None, np.ndarray | None], ranges: Ranges
) -> list[str]:
    """How the scale and the zero point of an activation differ from those of its range."""
    if activation not in ranges:
        return [f"{activation} was not calibrated"]
    expected: tuple[np.generic, ...] = scaling(ranges[activation])
    return [
        f"the {kind} of {activation} is {value}; calibration gives {wanted}"
        for kind, value, wanted in zip(("scale", "zero point"), found, expected, strict=True)
        if value is None or value.dtype != wanted.dtype or value != wanted
    ]
