"""`gconvK`: a depthwise convolution over K tokens in half the width, multiplied by a sigmoid gate.

A gated linear unit (Dauphin et al. 2017, arXiv 1612.08083) around a lightweight convolution (Wu et al. 2019,
arXiv 1901.10430). Half the width makes kernels of 15 and more affordable at batch one; see
benchmarks/results/operator-costs.json."""

from __future__ import annotations

from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators.convolution import even_kernel
from bertcompress.space.operators.kind import FusedNode, OperatorKind, dense_parameters

LADDER_KERNELS = (7, 15, 31)


def inner_width(dimensions: Dimensions) -> int:
    """Return the number of channels that are convolved."""
    return max(1, dimensions.hidden_size // 2)


def _dense_layers(kernel: int, dimensions: Dimensions) -> list[tuple[int, int]]:
    """Value, gate and output."""
    hidden, inner = dimensions.hidden_size, inner_width(dimensions)
    return [(hidden, inner), (hidden, inner), (inner, hidden)]


def _num_parameters(kernel: int, dimensions: Dimensions) -> int:
    depthwise = inner_width(dimensions) * (kernel + 1)
    return depthwise + dense_parameters(_dense_layers(kernel, dimensions)) + 2 * dimensions.hidden_size


def _macs(kernel: int, dimensions: Dimensions, sequence_length: int, num_outputs: int) -> int:
    """Values are convolved of all tokens, gates and outputs are of those that are asked for."""
    hidden, inner = dimensions.hidden_size, inner_width(dimensions)
    return sequence_length * inner * (hidden + kernel) + 2 * num_outputs * hidden * inner


GATED_CONVOLUTION = OperatorKind(
    word="gconv",
    form="gconvK",
    size_meaning="odd kernel",
    title="gated convolution",
    colour="#7c5cbf",
    mixes_tokens=True,
    describe_size=lambda kernel: f"kernel {kernel}",
    num_parameters=_num_parameters,
    macs=_macs,
    dense_layers=_dense_layers,
    teacher_sizes=lambda bert: [],
    ladder_sizes=lambda dimensions, bert: LADDER_KERNELS,
    node=FusedNode("Conv", "kernel_shape", multiplied=True),
    graph_bytes=2_700,
    size_problem=lambda kernel: even_kernel("gconv", kernel),
)
