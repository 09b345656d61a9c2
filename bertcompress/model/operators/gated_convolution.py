"""A gated depthwise convolution with a long kernel, in both directions of time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bertcompress.model.operators.convolution import start_from_nearest_kernel
from bertcompress.model.operators.operator_module import BertLayer
from bertcompress.space import Dimensions, Operator
from bertcompress.space.operators.gated_convolution import inner_width


class GatedConvolution(nn.Module):
    """output(sigmoid(gate(x)) * depthwise(value(x))), the kernel `size` tokens long, half the width inside.

    Padded positions are zeroed right before the convolution, so they are as good as absent.
    """

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None:
        super().__init__()
        width, inner, kernel = dimensions.hidden_size, inner_width(dimensions), operator.size
        self.value = nn.Linear(width, inner)
        self.gate = nn.Linear(width, inner)
        # Two-dimensional of height 1: ONNX Runtime runs that faster than Conv1d.
        self.depthwise = nn.Conv2d(inner, inner, (1, kernel), padding=(0, kernel // 2), groups=inner)
        self.output = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        kept = self.value(x) * attention_mask.unsqueeze(-1).to(x.dtype)
        image = kept.transpose(1, 2).unsqueeze(2)  # (B, D/2, 1, T)
        convolved = self.depthwise(image)
        if first_token:
            x, convolved = x[:, :1], convolved[..., :1]
        mixed = torch.sigmoid(self.gate(x)) * convolved.squeeze(2).transpose(1, 2)  # (B, T, D/2)
        return self.norm(x + self.dropout(self.output(mixed)))

    def start_from_bert(self, layer: BertLayer) -> None:
        """Keep the weights as drawn: no BERT has a convolution."""

    def start_from_alike(self, others: Sequence[GatedConvolution]) -> None:
        """Take the weights of the nearest kernel size, the kernel cut or padded with zeros."""
        start_from_nearest_kernel(self, others)
