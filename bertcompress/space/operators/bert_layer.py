"""A BERT layer as two operators of a chain: attention, then feed-forward (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators.attention import ATTENTION
from bertcompress.space.operators.feed_forward import FEED_FORWARD
from bertcompress.space.operators.operator import Child, Operator

BERT_LAYER = (ATTENTION, FEED_FORWARD)


def teacher_child(num_hidden_layers: int, heads: int, intermediate_size: int) -> Child:
    """Return the alternating chain that is a BERT encoder, two positions a layer."""
    layer = (Operator(ATTENTION.word, heads), Operator(FEED_FORWARD.word, intermediate_size))
    return layer * num_hidden_layers


def uniform_bert_operators(
    operators: Sequence[Operator], dimensions: Dimensions
) -> tuple[list[Operator], list[Operator]]:
    """Return the attentions and the feed-forwards that a BERT of equal layers may repeat: those given.

    Where one of them is missing it is a third of the heads that fill the hidden size, or an inner width of
    the hidden size.
    """
    heads = max(1, dimensions.hidden_size // dimensions.head_size // 3)
    attentions = [operator for operator in operators if operator.kind == ATTENTION.word]
    feed_forwards = [operator for operator in operators if operator.kind == FEED_FORWARD.word]
    return (
        attentions or [Operator(ATTENTION.word, heads)],
        feed_forwards or [Operator(FEED_FORWARD.word, dimensions.hidden_size)],
    )
