"""Anchor alignment: pull every child's hidden states towards those of a good child (MAGIC-A).

Xu et al. 2022, arXiv 2108.12821, section 4.2. Two departures, both against collapse (a constant output
satisfies a plain MSE): the weight ramps up after a warm-up, and each position's error is divided by the
anchor's own variance over tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

C = TypeVar("C")


def alignment_loss(child: Sequence[Tensor], anchor: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Mean over positions of the squared error to the anchor, relative to the anchor's variance: a scalar.

    `child` and `anchor` hold one (B, T, D) tensor a position; padded tokens do not count. 1.0 is the error
    of predicting the anchor's mean token. No gradient reaches the anchor.
    """
    mask = attention_mask.unsqueeze(-1).to(child[0].dtype)  # (B, T, 1)
    count = mask.sum().clamp(min=1)
    losses = []
    for ours, theirs in zip(child, anchor, strict=True):
        target = theirs.detach()
        mean = (target * mask).sum(dim=(0, 1)) / count  # (D,)
        variance = ((target - mean).square() * mask).sum()
        losses.append(((ours - target).square() * mask).sum() / variance.clamp(min=1e-6))
    return torch.stack(losses).mean()


@dataclass(frozen=True)
class Ramp:
    """Weight of the alignment over training: zero until `start_fraction`, `weight` from `end_fraction` on."""

    weight: float
    start_fraction: float
    end_fraction: float

    def at(self, step: int, num_steps: int) -> float:
        """Weight at `step` (0-based) of `num_steps`, linear between the two fractions."""
        start, end = self.start_fraction * num_steps, self.end_fraction * num_steps
        if step < start:
            return 0.0
        return self.weight if step >= end else self.weight * (step - start) / (end - start)


class Anchor(Generic[C]):
    """The child that the others are aligned with; replaced when a trained child is better on the dev batches.

    Both are scored with the weights of that moment, so the anchor is never worse than the one it replaces.
    """

    def __init__(self, child: C) -> None:
        self.child = child
        self.num_replacements = 0

    def consider(self, candidate: C, dev_loss: Callable[[C], float]) -> bool:
        """Replace the anchor by `candidate` when its dev loss is lower; True when replaced."""
        if candidate == self.child or not dev_loss(candidate) < dev_loss(self.child):
            return False
        self.child = candidate
        self.num_replacements += 1
        return True
