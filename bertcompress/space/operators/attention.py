"""`mhaH`: self-attention with H heads of the space's head size (Vaswani et al. 2017)."""

from __future__ import annotations

from fractions import Fraction

from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators.kind import BertSizes, FusedNode, OperatorKind, dense_parameters

LADDER_SHARES = tuple(Fraction(part, 12) for part in (1, 2, 3, 4, 6, 8, 12))


def _dense_layers(heads: int, dimensions: Dimensions) -> list[tuple[int, int]]:
    """Query, key, value and output."""
    hidden, inner = dimensions.hidden_size, heads * dimensions.head_size
    return [(hidden, inner)] * 3 + [(inner, hidden)]


def _num_parameters(heads: int, dimensions: Dimensions) -> int:
    return dense_parameters(_dense_layers(heads, dimensions)) + 2 * dimensions.hidden_size


def _macs(heads: int, dimensions: Dimensions, sequence_length: int, num_outputs: int) -> int:
    """Keys and values are needed of all tokens, queries and outputs of those that are asked for."""
    hidden, inner = dimensions.hidden_size, heads * dimensions.head_size
    projections = 2 * sequence_length * hidden + 2 * num_outputs * hidden
    return inner * (projections + 2 * num_outputs * sequence_length)


def _most_heads(dimensions: Dimensions) -> int:
    return dimensions.hidden_size // dimensions.head_size


def _width_problem(heads: int, dimensions: Dimensions) -> str | None:
    if heads <= (most := _most_heads(dimensions)):
        return None
    return (
        f"{heads} heads of size {dimensions.head_size} are wider than"
        f" hidden_size {dimensions.hidden_size}; use 1 to {most} heads"
    )


def _stock_problem(heads: int, dimensions: Dimensions) -> str | None:
    if heads * dimensions.head_size == dimensions.hidden_size:
        return None
    filled = f"{heads} heads of {dimensions.head_size}"
    return f"{filled} do not fill the hidden size of {dimensions.hidden_size}"


def _ladder_sizes(dimensions: Dimensions, bert: BertSizes) -> set[int]:
    most = min(bert.num_attention_heads, _most_heads(dimensions))
    return {max(1, int(most * share)) for share in LADDER_SHARES}


ATTENTION = OperatorKind(
    word="mha",
    form="mhaH",
    size_meaning="heads",
    title="attention",
    colour="#3f88c5",
    mixes_tokens=True,
    describe_size=lambda heads: "1 head" if heads == 1 else f"{heads} heads",
    num_parameters=_num_parameters,
    macs=_macs,
    dense_layers=_dense_layers,
    teacher_sizes=lambda bert: [
        bert.num_attention_heads // part for part in (1, 2, 4) if bert.num_attention_heads % part == 0
    ],
    ladder_sizes=_ladder_sizes,
    node=FusedNode("MultiHeadAttention", "num_heads"),
    graph_bytes=2_450,
    width_problem=_width_problem,
    stock_problem=_stock_problem,
)
