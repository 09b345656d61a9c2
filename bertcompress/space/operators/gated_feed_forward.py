"""`gegluW`: a feed-forward W wide inside whose gelu is multiplied by a second dense layer of the input
(GeGLU; Shazeer 2020, arXiv 2002.05202)."""

from __future__ import annotations

from fractions import Fraction

from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators.kind import GELU, BertSizes, FusedNode, OperatorKind, dense_parameters

LADDER_SHARES = tuple(Fraction(part, 16) for part in (1, 2, 4, 8))


def _dense_layers(width: int, dimensions: Dimensions) -> list[tuple[int, int]]:
    """Gate, value and output."""
    hidden = dimensions.hidden_size
    return [(hidden, width), (hidden, width), (width, hidden)]


def _num_parameters(width: int, dimensions: Dimensions) -> int:
    return dense_parameters(_dense_layers(width, dimensions)) + 2 * dimensions.hidden_size


def _macs(width: int, dimensions: Dimensions, sequence_length: int, num_outputs: int) -> int:
    return 3 * num_outputs * dimensions.hidden_size * width


def _ladder_sizes(dimensions: Dimensions, bert: BertSizes) -> set[int]:
    return {max(1, int(bert.intermediate_size * share)) for share in LADDER_SHARES}


GATED_FEED_FORWARD = OperatorKind(
    word="geglu",
    form="gegluW",
    size_meaning="width",
    title="gated feed-forward",
    colour="#c8553d",
    mixes_tokens=False,
    describe_size=lambda width: f"{width} wide",
    num_parameters=_num_parameters,
    macs=_macs,
    dense_layers=_dense_layers,
    teacher_sizes=lambda bert: [],
    ladder_sizes=_ladder_sizes,
    node=FusedNode(GELU, "dense width", multiplied=True),
    graph_bytes=1_700,
)
