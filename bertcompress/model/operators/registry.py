"""The modules of all kinds of operators, by the kind's word."""

from __future__ import annotations

from typing import cast

from torch import nn

from bertcompress.model.operators.attention import Attention
from bertcompress.model.operators.convolution import SeparableConvolution
from bertcompress.model.operators.feed_forward import FeedForward
from bertcompress.model.operators.gated_convolution import GatedConvolution
from bertcompress.model.operators.gated_feed_forward import GatedFeedForward
from bertcompress.model.operators.operator_module import OperatorModule
from bertcompress.space import IDENTITY, Dimensions, Operator

# Identity has no module: the canonical form of a child leaves it out.
MODULES: dict[str, type[OperatorModule]] = {
    "mha": Attention,
    "ffn": FeedForward,
    "conv": SeparableConvolution,
    "geglu": GatedFeedForward,
    "gconv": GatedConvolution,
}


def build_operator(
    operator: Operator, dimensions: Dimensions, dropout: float, layer_norm_eps: float
) -> nn.Module:
    """Build the module of an operator: forward(x (B, T, D), attention_mask (B, T)) gives (B, T, D).

    Raises:
        ValueError: the operator is identity.
    """
    if operator == IDENTITY:
        raise ValueError("identity has no module; leave the position out")
    module = MODULES[operator.kind](operator, dimensions, dropout=dropout, layer_norm_eps=layer_norm_eps)
    return cast(nn.Module, module)
