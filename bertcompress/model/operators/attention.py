"""Attention of any number of heads. In an ONNX export it becomes ONNX Runtime's own operator, so that no
pattern has to be found in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertcompress.model.operators.operator_module import BertLayer, most_important
from bertcompress.space import Dimensions, Operator


class Attention(nn.Module):
    """Self-attention with `size` heads of the space's head size; padded positions get no weight.

    A row without any token attends evenly to everything: its output is finite and means nothing.
    """

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None:
        super().__init__()
        width, inner = dimensions.hidden_size, operator.size * dimensions.head_size
        self.num_heads = operator.size
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        asking = x[:, :1] if first_token else x  # (B, Q, D)
        q, k, v = self.query(asking), self.key(x), self.value(x)  # (B, Q, h*d), (B, T, h*d) twice
        if torch.onnx.is_in_onnx_export():
            mixed = self._mix_in_onnx(q, k, v, attention_mask)
        else:
            mixed = self._mix(q, k, v, attention_mask)
        return self.norm(asking + self.dropout(self.output(mixed)))

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, attention_mask: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
        # A finite floor, not -inf: a row without any token would be NaN.
        bias = (1 - attention_mask[:, None, None, :].to(q.dtype)) * torch.finfo(q.dtype).min  # (B, 1, 1, T)
        rate = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate)  # (B, h, Q, d)
        return mixed.transpose(1, 2).flatten(2)

    def _mix_in_onnx(self, q: Tensor, k: Tensor, v: Tensor, attention_mask: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (q, k, v, None, attention_mask.to(torch.int32)),
            {"num_heads": self.num_heads},
            dtype=q.dtype,
            shape=q.shape,
            version=1,
        )

    def pairs_with_bert(self, layer: Any) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Yield the parts of this module, each with the part of Hugging Face's BertLayer that it equals."""
        theirs = layer.attention
        yield self.query, theirs.self.query
        yield self.key, theirs.self.key
        yield self.value, theirs.self.value
        yield self.output, theirs.output.dense
        yield self.norm, theirs.output.LayerNorm

    def start_from_bert(self, layer: BertLayer) -> None:
        """Take the most important heads of the layer's attention; with all of them this is a copy."""
        theirs = layer.module.attention
        heads = most_important(layer.heads, self.num_heads)
        size = self.query.out_features // self.num_heads
        rows = (heads[:, None] * size + torch.arange(size, device=heads.device)).flatten()  # (h*d,)
        pairs = (
            (self.query, theirs.self.query),
            (self.key, theirs.self.key),
            (self.value, theirs.self.value),
        )
        with torch.no_grad():
            for target, source in pairs:
                target.weight.copy_(source.weight[rows])
                target.bias.copy_(source.bias[rows])
            self.output.weight.copy_(theirs.output.dense.weight[:, rows])
            self.output.bias.copy_(theirs.output.dense.bias)
        self.norm.load_state_dict(theirs.output.LayerNorm.state_dict())

    def start_from_alike(self, others: Sequence[Any]) -> None:
        """Keep the weights: they come from the teacher."""


def head_carrier(layer: Any) -> nn.Linear:
    """Return the dense layer of a BertLayer whose inputs are the heads' outputs, side by side."""
    carrier: nn.Linear = layer.attention.output.dense
    return carrier


def head_scores(scores: Tensor, num_heads: int) -> Tensor:
    """Sum scores of the carrier's inputs (..., h*d) by head: (..., h)."""
    return scores.unflatten(-1, (num_heads, -1)).sum(dim=-1)


def head_weight_scores(layer: Any, num_heads: int) -> Tensor:
    """Score heads by the size of the weights that carry them to the output: (h,)."""
    return head_scores(head_carrier(layer).weight.detach().float().square().sum(dim=0), num_heads)
