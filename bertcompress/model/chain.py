"""A fixed chain of operators: run for a head, or with weights drawn afresh."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def run_for_head(chain: Iterable[nn.Module], start: int, x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the chain's output (B, T, D), or (B, 1, D) where the head reads the first token only.

    From the operator at `start` on, which is `first_token_from` of the chain, one token is computed.
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
