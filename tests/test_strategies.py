"""Sampling, alignment and supernet training: the laws that each strategy stands on."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.distill import embedding_groups
from bertcompress.errors import SpaceError
from bertcompress.space import Child, Dimensions, SearchSpace
from bertcompress.supernet.alignment import Anchor, Ramp, alignment_loss
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.sampling import ALIGNED_STRATEGIES, SAMPLERS, GradualSampler, UniformSampler
from bertcompress.supernet.train import AlignmentSettings, child_logits, train_supernet
from bertcompress.training import FitSettings, TrainingLog, seeded

CHOICES = [("a", "b", "c"), ("a", "b"), ("only",), ("a", "b", "c", "d")]
OPERATORS = ["mha2", "mha4", "ffn32", "conv3", "identity"]
NUM_STEPS = 12


def distance(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def affordable(child: tuple[str, ...]) -> bool:
    return sum("abcd".find(operator) for operator in child) <= 3


@pytest.mark.parametrize("accepts", [lambda child: True, affordable], ids=["free", "budget"])
def test_gradual_children_differ_in_exactly_one_position(accepts: Callable[[tuple[str, ...]], bool]) -> None:
    sampler = GradualSampler(CHOICES, random.Random(0), accepts=accepts)
    walk = [sampler.next_child() for _ in range(4000)]
    assert {distance(before, after) for before, after in pairwise(walk)} == {1}
    assert all(accepts(child) for child in walk)


def test_gradual_walk_reaches_every_child() -> None:
    sampler = GradualSampler(CHOICES, random.Random(1))
    assert len({sampler.next_child() for _ in range(4000)}) == 3 * 2 * 1 * 4


def test_uniform_stays_within_accepts_and_covers_it_evenly() -> None:
    sampler = UniformSampler(CHOICES, random.Random(2), accepts=affordable)
    drawn = [sampler.next_child() for _ in range(6000)]
    assert all(affordable(child) for child in drawn)
    counts = np.array([drawn.count(child) for child in set(drawn)])
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


@pytest.mark.parametrize("strategy", sorted(SAMPLERS))
def test_same_seed_same_children(strategy: str) -> None:
    walks = []
    for _ in range(2):
        sampler = SAMPLERS[strategy](CHOICES, random.Random(5))
        walks.append([sampler.next_child() for _ in range(50)])
    assert walks[0] == walks[1]


def test_sampler_refuses_what_cannot_be_sampled() -> None:
    with pytest.raises(SpaceError, match="broke a budget"):
        UniformSampler(CHOICES, random.Random(0), accepts=lambda child: False).next_child()
    with pytest.raises(SpaceError, match="at least two operators"):
        GradualSampler([("a",), ("b",)], random.Random(0))
    alone = GradualSampler(CHOICES, random.Random(0), accepts=lambda c: c == ("a", "a", "only", "a"))
    alone.next_child()
    with pytest.raises(SpaceError, match="every neighbour"):
        alone.next_child()


def test_ramp_is_zero_then_linear_then_flat() -> None:
    ramp = Ramp(2.0, 0.2, 0.4)
    weights = [ramp.at(step, 100) for step in range(100)]
    assert weights[:21] == [0.0] * 21
    assert weights[30] == pytest.approx(1.0)
    assert weights[40:] == [2.0] * 60
    assert weights == sorted(weights)
    assert [Ramp(1.0, 0.5, 0.5).at(step, 4) for step in range(4)] == [0.0, 0.0, 1.0, 1.0]


def states(seed: int, *, num_positions: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 6, 8, generator=generator) for _ in range(num_positions)]


MASK = (torch.arange(6)[None, :] < torch.tensor([6, 4, 2, 1])[:, None]).long()


def test_alignment_gradient_never_reaches_the_anchor() -> None:
    child = [state.requires_grad_() for state in states(0)]
    anchor = [state.requires_grad_() for state in states(1)]
    alignment_loss(child, anchor, MASK).backward()
    assert all(state.grad is None for state in anchor)
    assert all(state.grad is not None and state.grad.abs().sum() > 0 for state in child)


def test_padded_tokens_do_not_count() -> None:
    child, anchor = states(0), states(1)
    padding = 1e3 * (1 - MASK).unsqueeze(-1)
    moved = alignment_loss([s + padding for s in child], [s - padding for s in anchor], MASK)
    torch.testing.assert_close(moved, alignment_loss(child, anchor, MASK))


def test_alignment_is_zero_only_at_the_anchor() -> None:
    anchor = states(1)
    assert alignment_loss(anchor, anchor, MASK).item() == 0.0
    assert alignment_loss(states(0), anchor, MASK).item() > 0.0


@given(st.floats(-5, 5), st.floats(1e-2, 1e2))
def test_collapse_to_a_constant_is_never_cheap(constant: float, scale: float) -> None:
    anchor = [scale * state for state in states(1)]
    collapsed = [torch.full_like(state, constant) for state in anchor]
    assert alignment_loss(collapsed, anchor, MASK).item() >= 1.0 - 1e-4


def test_best_constant_costs_one() -> None:
    anchor, kept = states(1), MASK.bool()
    mean = [state[kept].mean(dim=0).expand_as(state) for state in anchor]
    assert alignment_loss(mean, anchor, MASK).item() == pytest.approx(1.0, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(allow_nan=False)), min_size=1, max_size=40))
def test_anchor_never_gets_worse(stream: list[tuple[int, float]]) -> None:
    anchor, losses, replaced = Anchor(0), {0: 1.0}, 0
    for candidate, loss in stream:
        losses.setdefault(candidate, loss)
        before = losses[anchor.child]
        replaced += anchor.consider(candidate, losses.__getitem__)
        assert losses[anchor.child] == min(before, losses[candidate])
    assert anchor.num_replacements == replaced


@pytest.fixture
def space() -> SearchSpace:
    dimensions = Dimensions(
        vocab_size=97, hidden_size=32, embedding_size=32, head_size=8, num_labels=2, pooling="mean"
    )
    return SearchSpace.uniform(dimensions, 3, OPERATORS)


def train(
    space: SearchSpace, split: TokenizedSplit, strategy: str, weight: float, folder: Path
) -> tuple[SuperBert, Child | None]:
    """Train a fresh supernet, dropout on; give it back with the last anchor."""
    with seeded(7) as rng:
        supernet = SuperBert(space, dropout=0.1, generator=torch.Generator().manual_seed(7))
        alignment = None
        if strategy in ALIGNED_STRATEGIES:
            alignment = AlignmentSettings(Ramp(weight, 0.0, 0.25), check_every=3)
        labels = torch.from_numpy(split.labels)
        with TrainingLog(folder, "supernet", None) as log:
            _, anchor = train_supernet(
                supernet,
                split,
                lambda logits, batch: functional.cross_entropy(logits, batch["labels"]),
                FitSettings(NUM_STEPS, batch_size=8, learning_rate=1e-3),
                sampler=SAMPLERS[strategy](space.choices, random.Random(3)),
                alignment=alignment,
                dev_loss=lambda c: functional.cross_entropy(child_logits(supernet, c, split), labels).item(),
                parameter_groups=embedding_groups(supernet, 1.0),
                rng=rng,
                log=log,
            )
    return supernet, None if anchor is None else anchor.child


def same_weights(one: SuperBert, other: SuperBert) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize(("aligned", "plain"), [("magic-a", "spos"), ("magic-at", "magic-t")])
def test_alignment_of_weight_zero_changes_no_bit(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path, aligned: str, plain: str
) -> None:
    without, no_anchor = train(space, random_split, plain, 0.0, tmp_path / plain)
    with_zero, anchor = train(space, random_split, aligned, 0.0, tmp_path / aligned)
    assert no_anchor is None
    assert anchor is not None
    assert space.contains(anchor)
    assert same_weights(without, with_zero)


def test_alignment_with_weight_changes_the_training(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    plain, _ = train(space, random_split, "spos", 0.0, tmp_path / "plain")
    aligned, _ = train(space, random_split, "magic-a", 1.0, tmp_path / "aligned")
    assert not same_weights(plain, aligned)
