"""`convK`: a depthwise convolution over K tokens, gelu, then a dense layer over the channels."""

from __future__ import annotations

from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators.kind import FusedNode, OperatorKind, dense_parameters

LADDER_KERNELS = (3, 5, 7, 9)
TEACHER_KERNELS = (3, 5)


def _dense_layers(kernel: int, dimensions: Dimensions) -> list[tuple[int, int]]:
    """The pointwise layer."""
    return [(dimensions.hidden_size, dimensions.hidden_size)]


def _num_parameters(kernel: int, dimensions: Dimensions) -> int:
    hidden = dimensions.hidden_size
    depthwise = hidden * kernel + hidden
    return depthwise + dense_parameters(_dense_layers(kernel, dimensions)) + 2 * hidden


def _macs(kernel: int, dimensions: Dimensions, sequence_length: int, num_outputs: int) -> int:
    """The depthwise part runs over all tokens, whatever is asked for."""
    hidden = dimensions.hidden_size
    return sequence_length * hidden * kernel + num_outputs * hidden * hidden


def even_kernel(word: str, kernel: int) -> str | None:
    """Return why a kernel of an even size cannot be built; None for an odd one."""
    if kernel % 2:
        return None
    return f"{word}{kernel}: an even kernel has no middle; use {word}{kernel - 1} or {word}{kernel + 1}"


CONVOLUTION = OperatorKind(
    word="conv",
    form="convK",
    size_meaning="odd kernel",
    title="convolution",
    colour="#2a9d6f",
    mixes_tokens=True,
    describe_size=lambda kernel: f"kernel {kernel}",
    num_parameters=_num_parameters,
    macs=_macs,
    dense_layers=_dense_layers,
    teacher_sizes=lambda bert: TEACHER_KERNELS,
    ladder_sizes=lambda dimensions, bert: LADDER_KERNELS,
    node=FusedNode("Conv", "kernel_shape"),
    graph_bytes=1_980,
    size_problem=lambda kernel: even_kernel("conv", kernel),
)
