"""The operators of a chain, one residual sub-layer each: x = LN(x + dropout(op(x))), on x (B, T, D).

Attention and feed-forward are BERT's two halves of a layer, of any number of heads and any width. In an ONNX
export attention becomes ONNX Runtime's own operator, so that no pattern has to be found in the graph. With
`first_token` an operator computes the first token's output only, (B, 1, D)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class SeparableConvolution(nn.Module):
    """A depthwise convolution over `size` neighbours in time, gelu, then a dense layer over the channels.

    Padded positions are zeroed right before it, so they are as good as absent.
    """

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None:
        super().__init__()
        width, kernel = dimensions.hidden_size, operator.size
        # Two-dimensional of height 1: ONNX Runtime runs that faster than Conv1d, whatever the kernel.
        self.depthwise = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width)
        self.pointwise = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        kept = x * attention_mask.unsqueeze(-1).to(x.dtype)
        image = kept.transpose(1, 2).unsqueeze(2)  # (B, D, 1, T)
        convolved = self.depthwise(image)
        if first_token:
            x, convolved = x[:, :1], convolved[..., :1]
        mixed = F.gelu(convolved).squeeze(2).transpose(1, 2)  # (B, T, D)
        return self.norm(x + self.dropout(self.pointwise(mixed)))


MODULES: dict[str, type[Attention] | type[FeedForward] | type[SeparableConvolution]] = {
    "mha": Attention,
    "ffn": FeedForward,
    "conv": SeparableConvolution,
}


def build_operator(
    operator: Operator, dimensions: Dimensions, dropout: float, layer_norm_eps: float
) -> nn.Module:
    """The module of an operator: forward(x (B, T, D), attention_mask (B, T)) gives (B, T, D).

    Identity has no module: whoever runs a chain skips it.

    Raises:
        ValueError: the operator is identity.
    """
    if operator.kind == "identity":
        raise ValueError("identity has no module; leave the position out")
    return MODULES[operator.kind](operator, dimensions, dropout=dropout, layer_norm_eps=layer_norm_eps)


def run_for_head(chain: Iterable[nn.Module], start: int, x: Tensor, attention_mask: Tensor) -> Tensor:
    """The chain's output (B, T, D); from the operator at `start` on at the first token only, (B, 1, D).

    `start` is `first_token_from` of the chain: what the head never reads is not computed.
    """
    for index, operator in enumerate(chain):
        # Later operators are given one token.
        x = operator(x, attention_mask, first_token=True) if index == start else operator(x, attention_mask)
    return x


def initialize(module: nn.Module, generator: torch.Generator | None = None, std: float = 0.02) -> None:
    """Draw all weights below `module` afresh: normal as in BERT, biases zero, layer norms one.

    A depthwise kernel has too few inputs for BERT's deviation; it keeps the variance of its input instead.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5, generator=generator)
        elif isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std, generator=generator)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        if isinstance(part, nn.Conv2d | nn.Linear | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
