"""A gated feed-forward that can start from a plain one (GeGLU; Shazeer 2020, arXiv 2002.05202)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertcompress.model.operators.feed_forward import copy_neurons
from bertcompress.model.operators.operator_module import BertLayer
from bertcompress.space import Dimensions, Operator


class GatedFeedForward(nn.Module):
    """output(gelu(gate(x)) * value(x)), `size` wide inside; all three are dense layers with biases."""

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(dimensions.hidden_size, operator.size)
        self.value = nn.Linear(dimensions.hidden_size, operator.size)
        self.output = nn.Linear(operator.size, dimensions.hidden_size)
        self.norm = nn.LayerNorm(dimensions.hidden_size, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        x = x[:, :1] if first_token else x
        inner = F.gelu(self.gate(x)) * self.value(x)  # (B, T, W)
        return self.norm(x + self.dropout(self.output(inner)))

    def start_from_bert(self, layer: BertLayer) -> None:
        """Take the most important neurons as the gate, and let the value be 1 everywhere.

        With weights of zero and biases of one in the value, gelu(gate(x)) * value(x) is the teacher's
        gelu(inner(x)): the operator computes exactly what a plain feed-forward of its width computes. The
        value's weights have a gradient from the first step on.
        """
        copy_neurons(layer, self.gate, self.output)
        with torch.no_grad():
            self.value.weight.zero_()
            self.value.bias.fill_(1.0)
        self.norm.load_state_dict(layer.module.output.LayerNorm.state_dict())

    def start_from_alike(self, others: Sequence[Any]) -> None:
        """Keep the weights: they come from the teacher."""
