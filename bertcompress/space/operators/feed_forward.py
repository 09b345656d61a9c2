"""`ffnW`: two dense layers with a gelu between them, W wide inside (BERT's feed-forward)."""

from __future__ import annotations

from fractions import Fraction

from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators.kind import GELU, BertSizes, FusedNode, OperatorKind, dense_parameters

LADDER_SHARES = tuple(Fraction(part, 16) for part in (1, 2, 3, 4, 6, 8, 12, 16))


def _dense_layers(width: int, dimensions: Dimensions) -> list[tuple[int, int]]:
    hidden = dimensions.hidden_size
    return [(hidden, width), (width, hidden)]


def _num_parameters(width: int, dimensions: Dimensions) -> int:
    return dense_parameters(_dense_layers(width, dimensions)) + 2 * dimensions.hidden_size


def _macs(width: int, dimensions: Dimensions, sequence_length: int, num_outputs: int) -> int:
    return 2 * num_outputs * dimensions.hidden_size * width


def _ladder_sizes(dimensions: Dimensions, bert: BertSizes) -> set[int]:
    return {max(1, int(bert.intermediate_size * share)) for share in LADDER_SHARES}


FEED_FORWARD = OperatorKind(
    word="ffn",
    form="ffnW",
    size_meaning="width",
    title="feed-forward",
    colour="#e09f3e",
    mixes_tokens=False,
    describe_size=lambda width: f"{width} wide",
    num_parameters=_num_parameters,
    macs=_macs,
    dense_layers=_dense_layers,
    teacher_sizes=lambda bert: [
        bert.intermediate_size // part for part in (1, 2, 4) if bert.intermediate_size % part == 0
    ],
    ladder_sizes=_ladder_sizes,
    node=FusedNode(GELU, "dense width"),
    graph_bytes=1_250,
)
