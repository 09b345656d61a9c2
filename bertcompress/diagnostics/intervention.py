"""Interference by intervention: what happens to the gradients when a child is handed another child's signals.

A correlation of gradients with inputs may come from a common cause. Here the input of a shared operator, or
the gradient that arrives at its output, is mixed with the other child's, and the gradients' cosine is read
again (the input mixing is that of Xu et al. 2022, arXiv 2108.12821, section 3; the others are ours). With
both signals taken over, the two gradients are equal and the cosine is 1: what is missing at a mix of 1 of the
input alone is the share of the interference that sits in the output gradients."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor, nn

from bertcompress.diagnostics.interference import (
    MAX_REJECTIONS,
    Op,
    ProbedChain,
    cosine,
    draw_pair,
    possible_distances,
    shared_positions,
    trained_weights,
)

B = TypeVar("B")
Signal: TypeAlias = Literal["input", "output_gradient", "both"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Mixed:
    """Gradient cosines of one operator in two children as the second takes over the first's signal.

    `cosines` has one a mix of MIXES.
    """

    pair: int
    position: int
    kind: str
    signal: Signal
    cosines: tuple[float, ...]


@dataclass(frozen=True)
class _Run:
    gradient: Tensor  # (P,)
    input: Tensor
    output_gradient: Tensor


def _run(
    chain: ProbedChain[Op, B],
    child: tuple[Op, ...],
    batch: B,
    position: int,
    *,
    taken: _Run | None = None,
    input_mix: float = 0.0,
    gradient_mix: float = 0.0,
) -> _Run:
    """The child forward and backward, its operator at `position` fed with shares of `taken`'s signals."""
    module = chain.module_at(position, child[position])
    assert module is not None
    seen: dict[str, Tensor] = {}

    def enter(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        seen["input"] = arguments[0].detach()
        if taken is None or input_mix == 0.0:
            return None
        return (torch.lerp(arguments[0], taken.input, input_mix), *arguments[1:])

    def leave(_: nn.Module, arguments: Any, output: Tensor) -> None:
        def arrive(gradient: Tensor) -> Tensor | None:
            seen["output_gradient"] = gradient.detach()
            if taken is None or gradient_mix == 0.0:
                return None
            return torch.lerp(gradient, taken.output_gradient, gradient_mix)

        output.register_hook(arrive)

    hooks = module.register_forward_pre_hook(enter), module.register_forward_hook(leave)
    try:
        loss = chain.loss_of(child, batch)
    finally:
        for hook in hooks:
            hook.remove()
    gradients = torch.autograd.grad(loss, trained_weights(module), materialize_grads=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return _Run(flat, seen["input"], seen["output_gradient"])


def mix_signals(
    chain: ProbedChain[Op, B],
    first: tuple[Op, ...],
    second: tuple[Op, ...],
    batch: B,
    position: int,
    pair: int,
) -> list[Mixed]:
    """Cosine of the two children's gradients at a shared operator, for every signal and mix."""
    ours = _run(chain, first, batch, position)
    unmixed = cosine(ours.gradient, _run(chain, second, batch, position).gradient)
    found = []
    for signal in SIGNALS:
        cosines = [unmixed]
        for mix in MIXES[1:]:
            theirs = _run(
                chain,
                second,
                batch,
                position,
                taken=ours,
                input_mix=0.0 if signal == "output_gradient" else mix,
                gradient_mix=0.0 if signal == "input" else mix,
            )
            cosines.append(cosine(ours.gradient, theirs.gradient))
        found.append(Mixed(pair, position, chain.kind_of(first[position]), signal, tuple(cosines)))
    return found


def measure_mixing(
    chain: ProbedChain[Op, B], batches: Sequence[B], *, num_pairs: int, rng: random.Random
) -> list[Mixed]:
    """The intervention on up to `num_pairs` pairs, each at one shared operator with a difference upstream.

    The number of differing positions is drawn uniformly; a shared operator without a difference before it has
    the same input in both children already.
    """
    distances = possible_distances(chain.choices)
    found: list[Mixed] = []
    pair = 0
    for _ in range(MAX_REJECTIONS if distances else 0):
        if pair == num_pairs:
            break
        children = draw_pair(chain, rng.choice(distances), rng)
        if children is None:
            continue
        first, second = children
        places = [p for p in shared_positions(chain, first, second) if first[:p] != second[:p]]
        if places:
            found += mix_signals(chain, first, second, batches[pair % len(batches)], rng.choice(places), pair)
            pair += 1
    return found
