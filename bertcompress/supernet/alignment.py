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
from torch.nn import functional

C = TypeVar("C")


def alignment_loss(
    child: Sequence[Tensor], anchor: Sequence[Tensor], mask: Tensor | None, *, inputs: bool = False
) -> Tensor:
    """Mean over positions of the squared error to the anchor, relative to the anchor's variance: a scalar.

    `child` and `anchor` hold the state before the chain and one a position, (B, ..., D) each; where `mask`
    (B, ...) is 0 a state does not count. 1.0 is the error of predicting the anchor's mean. No gradient
    reaches the anchor.

    The output of each position is aligned. With `inputs` its input is too: in a chain that is the output of
    the position before, so every state counts twice but for the last, and for the one before the chain,
    which all children share and which only dropout tells apart.
    """
    first = 0 if inputs else 1
    pairs = list(zip(child, anchor, strict=True))[first:]
    errors = [_relative_error(ours, theirs.detach(), mask) for ours, theirs in pairs]
    aligned = [*errors[1:], *errors[:-1]] if inputs else errors
    return torch.stack(aligned).mean()


def _relative_error(ours: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    with torch.no_grad():
        flat = target.flatten(0, -2)  # (n, D)
        weights = flat.new_ones(len(flat)) if mask is None else mask.flatten().to(flat.dtype)  # (n,)
        mean = (weights @ flat) / weights.sum().clamp(min=1)  # (D,)
        variance = weights @ torch.linalg.vector_norm(flat - mean, dim=-1).square()
        if mask is not None:
            # Where a state is padding its target is itself: neither error nor gradient comes from there.
            target = torch.where(mask.unsqueeze(-1).bool(), target, ours)
    return functional.mse_loss(ours, target, reduction="sum") / variance.clamp(min=1e-6)


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


@dataclass(frozen=True)
class Alignment(Generic[C]):
    """How MAGIC-A runs: the ramp of its weight, what is aligned, and with whom.

    The first anchor is `anchor`, or else the first child that is sampled. With `dev_loss`, a child that was
    just trained replaces it when it is better there, looked at every `check_every` steps. Without, it stays.
    One row of a batch in `one_row_in` is aligned: the anchor's pass costs that much less.
    """

    ramp: Ramp
    inputs: bool = False
    anchor: C | None = None
    dev_loss: Callable[[C], float] | None = None
    check_every: int = 100
    one_row_in: int = 2


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
