"""The classification head: pool over tokens, then BERT's pooler and classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertcompress.space import Dimensions

# Below anything a layer norm gives, and small enough for half precision.
_FLOOR = -1e4


def pool_cls(x: Tensor, attention_mask: Tensor) -> Tensor:
    """The first token's vector: (B, T, D) to (B, D), as in BERT."""
    return x[:, 0]


def pool_mean(x: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the unpadded tokens: (B, T, D) to (B, D); zero for a row without any."""
    mask = attention_mask.unsqueeze(-1).to(x.dtype)  # (B, T, 1)
    return (x * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def pool_mean_max(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean and maximum over the unpadded tokens, side by side: (B, T, D) to (B, 2D)."""
    highest = x.masked_fill(attention_mask.unsqueeze(-1) == 0, _FLOOR).amax(dim=1)
    return torch.cat([pool_mean(x, attention_mask), highest], dim=-1)


POOLINGS = {"cls": pool_cls, "mean": pool_mean, "mean_max": pool_mean_max}


class ClassificationHead(nn.Module):
    """Pooling, dense, tanh, dropout, classifier: (B, T, D) to logits (B, C).

    Raises:
        ValueError: the dimensions pool nothing, as those of a head that classifies tokens.
    """

    def __init__(self, dimensions: Dimensions, *, dropout: float) -> None:
        super().__init__()
        if dimensions.pooling not in POOLINGS:
            raise ValueError(f"pooling: {dimensions.pooling!r}; use one of {', '.join(POOLINGS)}")
        self.pooling = dimensions.pooling
        self.dense = nn.Linear(dimensions.pooled_size, dimensions.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dimensions.hidden_size, dimensions.num_labels)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        pooled = POOLINGS[self.pooling](x, attention_mask)
        return self.classifier(self.dropout(torch.tanh(self.dense(pooled))))
