"""Prefix reuse is exact: under whatever bound, a child's logits are those of plain evaluation."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import SpaceError
from bertcompress.space import IDENTITY, Child, Dimensions, Operator, Pooling, SearchSpace, placed_steps
from bertcompress.supernet.evaluation import PrefixEvaluator, SupernetEvaluator
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.prefix_cache import PrefixCache
from bertcompress.supernet.train import child_logits

NAMES = ["mha4", "mha2", "ffn64", "conv3", "conv5", "identity"]
AMPLE = 2**30


def make_supernet(num_positions: int, names: list[str], pooling: Pooling = "mean_max") -> SuperBert:
    """Embeddings narrower than the chain; weights large enough that a wrong connection is seen."""
    dimensions = Dimensions(97, 32, 16, 8, 2, pooling, max_position_embeddings=16)
    generator = torch.Generator().manual_seed(0)
    supernet = SuperBert(SearchSpace.uniform(dimensions, num_positions, names), generator=generator).eval()
    with torch.no_grad():
        for weight in supernet.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    return supernet


def distinct_prefixes(children: list[Child]) -> set[tuple[tuple[int, Operator], ...]]:
    """Every non-empty prefix of the children's steps: what has to be computed at least once."""
    paths = [placed_steps(child) for child in children]
    return {path[: end + 1] for path in paths for end in range(len(path))}


@given(
    num_positions=st.integers(1, 4),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
    pooling=st.sampled_from(["cls", "mean", "mean_max"]),
    limit_bytes=st.one_of(st.just(0), st.integers(1, 1_000_000), st.just(AMPLE)),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_logits_are_those_of_plain_evaluation_under_any_bound(
    random_split: TokenizedSplit,
    num_positions: int,
    names: list[str],
    pooling: Pooling,
    limit_bytes: int,
    seed: int,
) -> None:
    supernet, rng = make_supernet(num_positions, names, pooling), random.Random(seed)
    evaluator = SupernetEvaluator(supernet, random_split, limit_bytes=limit_bytes, batch_size=16)
    for child in [supernet.space.sample(rng) for _ in range(8)]:
        plain = child_logits(supernet, child, random_split, batch_size=16)
        assert torch.equal(evaluator.logits(child), plain)
        cache = evaluator.prefixes.cache
        assert cache.num_bytes <= cache.peak_bytes <= limit_bytes
        assert (len(cache) == 0) == (cache.num_bytes == 0)


@given(seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_memory_enough_every_prefix_is_computed_once(random_split: TokenizedSplit, seed: int) -> None:
    supernet, rng = make_supernet(3, NAMES), random.Random(seed)
    children = [supernet.space.sample(rng) for _ in range(20)]
    evaluator = SupernetEvaluator(supernet, random_split, limit_bytes=AMPLE)
    for child in children:
        evaluator.logits(child)
    # What ends at the last position is never kept: only a child that comes twice needs it, and none does.
    whole = [path for path in map(placed_steps, children) if path and path[-1][0] == 2]
    repeated = len(whole) - len(set(whole))
    assert evaluator.prefixes.num_steps_computed == len(distinct_prefixes(children)) + repeated


def test_without_memory_everything_is_computed(random_split: TokenizedSplit) -> None:
    supernet = make_supernet(3, NAMES)
    evaluator = SupernetEvaluator(supernet, random_split, limit_bytes=0)
    for _ in range(2):
        evaluator.logits((Operator("conv", 3), IDENTITY, Operator("mha", 2)))
    assert evaluator.prefixes.num_steps_computed == evaluator.prefixes.num_steps_asked == 4


@pytest.mark.parametrize("limit_states", [1, 2, 3])
def test_sorted_children_reuse_even_with_little_memory(
    random_split: TokenizedSplit, limit_states: int
) -> None:
    supernet = make_supernet(2, ["conv3", "conv5", "mha2"])
    evaluator = SupernetEvaluator(supernet, random_split, limit_bytes=AMPLE)
    evaluator.logits((Operator("conv", 3), Operator("conv", 3)))
    one_state = evaluator.prefixes.cache.num_bytes // 2  # embeddings and one prefix
    bounded = SupernetEvaluator(supernet, random_split, limit_bytes=limit_states * one_state)
    children = [(a, b) for a in supernet.space.choices[0] for b in supernet.space.choices[1]]
    for child in sorted(children, key=placed_steps):
        bounded.logits(child)
    assert bounded.prefixes.cache.peak_bytes == limit_states * one_state
    assert bounded.prefixes.num_steps_computed == len(distinct_prefixes(children)) == 3 + 9


def test_identities_add_nothing_and_positions_are_told_apart(random_split: TokenizedSplit) -> None:
    supernet = make_supernet(3, NAMES)
    conv, attention = Operator("conv", 3), Operator("mha", 2)
    evaluator = SupernetEvaluator(supernet, random_split, limit_bytes=AMPLE)
    evaluator.logits((conv, IDENTITY, IDENTITY))
    assert len(evaluator.prefixes.cache) == 2  # the embeddings, and conv at position 0
    evaluator.logits((conv, IDENTITY, attention))
    assert evaluator.prefixes.num_steps_computed == 2
    evaluator.logits((IDENTITY, conv, attention))
    assert evaluator.prefixes.num_steps_computed == 4


def test_a_child_of_another_space_is_refused(random_split: TokenizedSplit) -> None:
    evaluator = SupernetEvaluator(make_supernet(2, ["conv3"]), random_split, limit_bytes=0)
    with pytest.raises(SpaceError, match="position 1: conv5 is not a choice"):
        evaluator.logits((Operator("conv", 3), Operator("conv", 5)))


def test_a_training_supernet_is_evaluated_without_dropout(random_split: TokenizedSplit) -> None:
    supernet = make_supernet(2, ["conv3", "mha2"])
    evaluator = SupernetEvaluator(supernet.train(), random_split, limit_bytes=AMPLE)
    child = supernet.space.choices[0]
    assert torch.equal(evaluator.logits(child), evaluator.logits(child))


@given(limit_bytes=st.integers(0, 60_000), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_any_chain_can_be_evaluated_such_as_one_over_images(limit_bytes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 3, 8, 8, generator=generator) for _ in range(3)]
    layers = [[nn.Conv2d(3, 3, k, padding=k // 2).requires_grad_(False) for k in (1, 3)] for _ in range(3)]

    def apply(step: tuple[int, int], state: Tensor, image: Tensor) -> Tensor:
        return state + torch.relu(layers[step[0]][step[1]](state))

    evaluator: PrefixEvaluator[tuple[int, int], Tensor] = PrefixEvaluator(
        images,
        start=lambda image: image * 2,
        apply=apply,
        finish=lambda state, image: state.mean(dim=(2, 3)),
        can_grow=lambda path: len(path) < 3,
        limit_bytes=limit_bytes,
    )
    rng = random.Random(seed)
    for path in [tuple((p, rng.randrange(2)) for p in range(rng.randint(0, 3))) for _ in range(10)]:
        for output, image in zip(evaluator.outputs(path), images, strict=True):
            state = image * 2
            for step in path:
                state = apply(step, state, image)
            assert torch.equal(output, state.mean(dim=(2, 3)))
        assert evaluator.cache.peak_bytes <= limit_bytes


def test_a_view_counts_as_all_that_it_keeps_alive() -> None:
    cache: PrefixCache[int] = PrefixCache(1000)
    cache.keep((1,), [torch.zeros(100, 100)[:1]])
    assert len(cache) == 0
    cache.keep((1,), [torch.zeros(100)])
    assert cache.num_bytes == 400


def test_the_least_recently_used_goes_and_of_one_chain_the_deepest() -> None:
    cache: PrefixCache[int] = PrefixCache(3 * 400)
    for prefix in [(), (1,), (1, 2)]:
        cache.keep(prefix, [torch.zeros(100)])
    assert cache.longest((1, 2, 3))[0] == 2
    cache.keep((4,), [torch.zeros(100)])
    assert cache.longest((1, 2, 3))[0] == 1
    cache.keep((5,), [torch.zeros(100)])
    assert cache.longest((4,))[0] == 0
    assert cache.longest((1,))[0] == 1


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="limit_bytes: -1"):
        PrefixCache(-1)
