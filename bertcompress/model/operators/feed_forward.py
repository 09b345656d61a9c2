"""BERT's feed-forward of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertcompress.model.operators.operator_module import BertLayer, most_important
from bertcompress.space import Dimensions, Operator


class FeedForward(nn.Module):
    """Two dense layers with a gelu between them, `size` wide inside."""

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.inner = nn.Linear(dimensions.hidden_size, operator.size)
        self.output = nn.Linear(operator.size, dimensions.hidden_size)
        self.norm = nn.LayerNorm(dimensions.hidden_size, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        x = x[:, :1] if first_token else x
        return self.norm(x + self.dropout(self.output(F.gelu(self.inner(x)))))

    def pairs_with_bert(self, layer: Any) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Yield the parts of this module, each with the part of Hugging Face's BertLayer that it equals."""
        yield self.inner, layer.intermediate.dense
        yield self.output, layer.output.dense
        yield self.norm, layer.output.LayerNorm

    def start_from_bert(self, layer: BertLayer) -> None:
        """Take the most important neurons of the layer's feed-forward; with all of them this is a copy."""
        copy_neurons(layer, self.inner, self.output)
        self.norm.load_state_dict(layer.module.output.LayerNorm.state_dict())

    def start_from_alike(self, others: Sequence[Any]) -> None:
        """Keep the weights: they come from the teacher."""


def copy_neurons(layer: BertLayer, inner: nn.Linear, output: nn.Linear) -> None:
    """Copy the layer's most important neurons into two dense layers of any inner width, in place.

    More neurons than the teacher's are silent until they are trained.
    """
    their_inner, their_output = layer.module.intermediate.dense, layer.module.output.dense
    neurons = most_important(layer.neurons, inner.out_features)
    count = len(neurons)
    with torch.no_grad():
        inner.weight[:count] = their_inner.weight[neurons]
        inner.bias[:count] = their_inner.bias[neurons]
        output.weight[:, :count] = their_output.weight[:, neurons]
        output.weight[:, count:] = 0.0
        output.bias.copy_(their_output.bias)


def neuron_carrier(layer: Any) -> nn.Linear:
    """Return the dense layer of a BertLayer whose inputs are the neurons."""
    carrier: nn.Linear = layer.output.dense
    return carrier


def neuron_weight_scores(layer: Any) -> Tensor:
    """Score neurons by the size of the weights into and out of each: (I,)."""
    inward = layer.intermediate.dense.weight.detach().float().norm(dim=1)  # (I,)
    outward: Tensor = neuron_carrier(layer).weight.detach().float().norm(dim=0)
    return inward * outward
