"""Interference, measured: how much two children disagree about the operators that they share.

The claims of Xu et al. 2022 (arXiv 2108.12821, section 3) as numbers for any chain: the cosine of a shared
operator's gradients from two children, against the number of positions in which they differ, and against how
alike the operator's inputs, outputs and output gradients are. Nothing here knows what the operators are."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Op = TypeVar("Op", bound=Hashable)
B = TypeVar("B")
MAX_REJECTIONS = 1000
MOST_DISTANCES = 6


def last_dimension_rows(activation: Tensor, batch: Any) -> Tensor:
    """An activation (..., D) as rows (n, D): every token counts."""
    return activation.reshape(-1, activation.shape[-1])


@dataclass(frozen=True)
class ProbedChain(Generic[Op, B]):
    """What is asked of a supernet: its choices, its modules, and the loss of a child on a batch.

    `module_at(position, operator)` is None for an operator without weights; a module takes its input as first
    argument and returns its output. `rows_of(activation, batch)` picks the rows (n, D) to compare, e.g.
    without padding. The caller puts the modules in eval mode, so that no dropout noise is measured.
    """

    choices: Sequence[Sequence[Op]]
    module_at: Callable[[int, Op], nn.Module | None]
    loss_of: Callable[[tuple[Op, ...], B], Tensor]
    kind_of: Callable[[Op], str] = str
    rows_of: Callable[[Tensor, B], Tensor] = last_dimension_rows
    accepts: Callable[[tuple[Op, ...]], bool] = lambda child: True


@dataclass(frozen=True)
class Observation:
    """One operator in one child on one batch: its weights' gradient (P,), and activations as rows (n, D)."""

    gradient: Tensor
    input: Tensor
    output: Tensor
    output_gradient: Tensor


@dataclass(frozen=True)
class Comparison:
    """One shared operator in two children that differ in `distance` positions, `distance_before` upstream.

    Cosines of the gradients on one batch, and with the second child on another; similarities on one batch.
    """

    pair: int
    position: int
    operator: str
    kind: str
    distance: int
    distance_before: int
    cosine: float
    cosine_other_batch: float
    input_similarity: float
    output_similarity: float
    output_gradient_similarity: float


def observe(
    chain: ProbedChain[Op, B], child: tuple[Op, ...], batch: B, positions: Sequence[int]
) -> dict[int, Observation]:
    """Run the child forward and backward once and note its operators at `positions`; no .grad is touched.

    Raises:
        ValueError: a position's operator has no weights, or did not run.
    """
    modules = {position: chain.module_at(position, child[position]) for position in positions}
    passed: dict[int, tuple[Tensor, Tensor]] = {}
    with ExitStack() as hooks:
        for position, module in modules.items():
            if module is None:
                raise ValueError(f"position {position}: {child[position]} has no weights to observe")

            def note(_: nn.Module, arguments: Any, output: Tensor, position: int = position) -> None:
                passed[position] = (arguments[0], output)

            hooks.callback(module.register_forward_hook(note).remove)
        loss = chain.loss_of(child, batch)
    if missing := [position for position in positions if position not in passed]:
        raise ValueError(f"positions {missing} did not run")
    weights = {position: trained_weights(module) for position, module in modules.items() if module}
    wanted = [tensor for position in positions for tensor in (passed[position][1], *weights[position])]
    gradients = iter(torch.autograd.grad(loss, wanted, materialize_grads=True))
    observations = {}
    for position in positions:
        entered, left = passed[position]
        arriving = next(gradients)
        flat = torch.cat([next(gradients).flatten() for _ in weights[position]])  # (P,)
        rows = (chain.rows_of(tensor.detach(), batch) for tensor in (entered, left, arriving))
        observations[position] = Observation(flat, *rows)
    return observations


def trained_weights(module: nn.Module) -> list[nn.Parameter]:
    """The module's weights that a training step would move."""
    return [weight for weight in module.parameters() if weight.requires_grad]


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of two tensors of one shape as vectors; 0 when one of them is zero."""
    norms = first.norm() * second.norm()
    return float((first * second).sum() / norms) if norms > 0 else 0.0


def row_similarity(first: Tensor, second: Tensor) -> float:
    """Cosine of two sets of rows (n, D) after each loses its mean row.

    Layer norms leave all rows a large common part, which would make any two activations look alike.
    """
    return cosine(first - first.mean(dim=0), second - second.mean(dim=0))


def compare(
    chain: ProbedChain[Op, B], first: tuple[Op, ...], second: tuple[Op, ...], batches: tuple[B, B], pair: int
) -> Iterator[Comparison]:
    """Every operator with weights that two children share, compared; three passes forward and backward."""
    shared = shared_positions(chain, first, second)
    ours = observe(chain, first, batches[0], shared)
    theirs = observe(chain, second, batches[0], shared)
    elsewhere = observe(chain, second, batches[1], shared)
    differs = [ours != theirs for ours, theirs in zip(first, second, strict=True)]
    for position in shared:
        a, b = ours[position], theirs[position]
        yield Comparison(
            pair=pair,
            position=position,
            operator=str(first[position]),
            kind=chain.kind_of(first[position]),
            distance=sum(differs),
            distance_before=sum(differs[:position]),
            cosine=cosine(a.gradient, b.gradient),
            cosine_other_batch=cosine(a.gradient, elsewhere[position].gradient),
            input_similarity=row_similarity(a.input, b.input),
            output_similarity=row_similarity(a.output, b.output),
            output_gradient_similarity=cosine(a.output_gradient, b.output_gradient),
        )


def shared_positions(chain: ProbedChain[Op, B], first: tuple[Op, ...], second: tuple[Op, ...]) -> list[int]:
    """Positions where both children have one operator, and it has weights."""
    pairs = enumerate(zip(first, second, strict=True))
    return [
        position
        for position, (ours, theirs) in pairs
        if ours == theirs and chain.module_at(position, ours) is not None
    ]


def possible_distances(choices: Sequence[Sequence[Op]]) -> list[int]:
    """Numbers of differing positions that leave one shared: all of them, or six spread over a long chain."""
    varied = sum(len(set(position)) > 1 for position in choices)
    most = min(varied, len(choices) - 1)
    if most <= MOST_DISTANCES:
        return list(range(1, most + 1))
    return sorted({1 + round(i * (most - 1) / (MOST_DISTANCES - 1)) for i in range(MOST_DISTANCES)})


def draw_pair(
    chain: ProbedChain[Op, B], distance: int, rng: random.Random
) -> tuple[tuple[Op, ...], tuple[Op, ...]] | None:
    """Two accepted children that differ in exactly `distance` positions and share an operator with weights.

    None when none was found in 1,000 draws.
    """
    varied = [position for position, operators in enumerate(chain.choices) if len(set(operators)) > 1]
    for _ in range(MAX_REJECTIONS):
        first = tuple(rng.choice(list(operators)) for operators in chain.choices)
        second = list(first)
        for position in rng.sample(varied, distance):
            second[position] = rng.choice([op for op in chain.choices[position] if op != first[position]])
        other = tuple(second)
        if chain.accepts(first) and chain.accepts(other) and shared_positions(chain, first, other):
            return first, other
    return None


def measure_interference(
    chain: ProbedChain[Op, B], batches: Sequence[B], *, num_pairs: int, rng: random.Random
) -> list[Comparison]:
    """Comparisons of `num_pairs` pairs of children at each distance; one pair is in memory at a time.

    The pairs go through `batches` (two or more, of equal size) in turn. The same `rng` state gives the same
    pairs on any weights, so that before and after training are compared on equal terms.

    Raises:
        ValueError: fewer than two batches.
    """
    if len(batches) < 2:
        raise ValueError(f"{len(batches)} batches; two or more are needed to compare across batches")
    found: list[Comparison] = []
    numbers = itertools.count()
    for distance in possible_distances(chain.choices):
        for _ in range(num_pairs):
            children = draw_pair(chain, distance, rng)
            if children is None:
                break
            pair = next(numbers)
            chosen = batches[pair % len(batches)], batches[(pair + 1) % len(batches)]
            found += compare(chain, *children, chosen, pair)
    return found
