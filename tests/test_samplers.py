"""Samplers: the laws of each stream of children, over spaces of any shape."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bertcompress.errors import SpaceError
from bertcompress.space import Operator, canonical
from bertcompress.supernet.alignment import Alignment, Ramp
from bertcompress.supernet.samplers import FairSampler, GradualSampler, SandwichSampler, UniformSampler
from bertcompress.supernet.strategy import STRATEGIES, Strategy, StrategySettings

CHOICES = [("a", "b", "c"), ("a", "b"), ("only",), ("a", "b", "c", "d")]
ANY_CHOICES = st.lists(st.integers(1, 5).map(range).map(tuple), min_size=1, max_size=7)
BERT_OPERATORS = tuple(map(Operator.parse, ("mha2", "mha4", "ffn32", "conv3", "identity")))


def distance(one: tuple[object, ...], other: tuple[object, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def affordable(child: tuple[str, ...]) -> bool:
    return sum("abcd".find(operator) for operator in child) <= 3


def strategy(name: str, seed: int, **parts: Any) -> Strategy[str]:
    return STRATEGIES[name](
        StrategySettings(
            CHOICES,
            random.Random(seed),
            largest=("c", "b", "only", "d"),
            smallest=("a", "a", "only", "a"),
            imitation=lambda ours, theirs: ours,
            alignment=Alignment(Ramp(1.0, 0.0, 0.5)),
            **parts,
        )
    )


@given(ANY_CHOICES, st.integers(1, 7), st.integers(0, 99))
@settings(max_examples=40)
def test_gradual_children_differ_in_exactly_the_asked_number_of_positions(
    choices: list[tuple[int, ...]], replaced: int, seed: int
) -> None:
    assume(replaced <= sum(len(position) > 1 for position in choices))
    sampler = GradualSampler(choices, random.Random(seed), replaced_positions=replaced)
    walk = [sampler.next_child() for _ in range(2000)]
    assert {distance(before, after) for before, after in pairwise(walk)} == {replaced}


@pytest.mark.parametrize("replaced", [1, 2])
def test_gradual_walk_stays_within_accepts(replaced: int) -> None:
    sampler = GradualSampler(CHOICES, random.Random(0), accepts=affordable, replaced_positions=replaced)
    walk = [sampler.next_child() for _ in range(4000)]
    assert {distance(before, after) for before, after in pairwise(walk)} == {replaced}
    assert all(affordable(child) for child in walk)


def test_adjacent_children_are_different_networks_when_one_operator_is_replaced() -> None:
    sampler = GradualSampler([BERT_OPERATORS] * 5, random.Random(0))
    walk = [sampler.next_child() for _ in range(4000)]
    assert all(canonical(before) != canonical(after) for before, after in pairwise(walk))


def test_gradual_walk_reaches_every_child() -> None:
    sampler = GradualSampler(CHOICES, random.Random(1))
    assert len({sampler.next_child() for _ in range(4000)}) == 3 * 2 * 1 * 4


@given(ANY_CHOICES, st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40)
def test_fair_counts_are_equal_after_each_round(
    choices: list[tuple[int, ...]], num_rounds: int, seed: int
) -> None:
    sampler = FairSampler(choices, random.Random(seed))
    counts = [Counter[int]() for _ in choices]
    for _ in range(num_rounds):
        for _ in range(sampler.round_length):
            for count, operator in zip(counts, sampler.next_child(), strict=True):
                count[operator] += 1
        for count, operators in zip(counts, choices, strict=True):
            assert set(count) == set(operators)
            assert len(set(count.values())) == 1


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_fair_round_takes_each_operator_exactly_once(positions: int, operators: int, seed: int) -> None:
    sampler = FairSampler([tuple(range(operators))] * positions, random.Random(seed))
    assert sampler.round_length == operators
    round_ = [sampler.next_child() for _ in range(operators)]
    assert all(sorted(column) == list(range(operators)) for column in zip(*round_, strict=True))


def test_fair_rounds_are_shuffled_anew() -> None:
    sampler = FairSampler(CHOICES, random.Random(0))
    assert sampler.round_length == 12
    assert len({sampler.next_child() for _ in range(2000)}) == 3 * 2 * 1 * 4


def test_sandwich_is_largest_smallest_random() -> None:
    largest, smallest = ("c", "b", "only", "d"), ("a", "a", "only", "a")
    sampler = SandwichSampler(
        CHOICES, random.Random(0), largest=largest, smallest=smallest, accepts=affordable
    )
    drawn = [sampler.next_child() for _ in range(300)]
    assert set(drawn[0::3]) == {largest}
    assert set(drawn[1::3]) == {smallest}
    assert all(affordable(child) for child in drawn[2::3])
    assert len(set(drawn[2::3])) > 5


def test_uniform_stays_within_accepts_and_covers_it_evenly() -> None:
    sampler = UniformSampler(CHOICES, random.Random(2), accepts=affordable)
    drawn = [sampler.next_child() for _ in range(6000)]
    assert all(affordable(child) for child in drawn)
    counts = np.array([drawn.count(child) for child in set(drawn)])
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_process_draws_the_same_children(name: str) -> None:
    # Nothing but the seed decides: not torch's, numpy's or Python's own generators, and no process number.
    walks = []
    for rank in range(3):
        random.seed(rank)
        np.random.seed(rank)
        sampler = strategy(name, 5).sampler
        walks.append([sampler.next_child() for _ in range(200)])
    assert walks[0] == walks[1] == walks[2]
    other = strategy(name, 6).sampler
    assert [other.next_child() for _ in range(200)] != walks[0]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(taken=st.integers(0, 30))
@settings(max_examples=15)
def test_resumed_sampling_equals_uninterrupted(name: str, taken: int) -> None:
    sampler = strategy(name, 3).sampler
    for _ in range(taken):
        sampler.next_child()
    kept = json.dumps(sampler.state())
    expected = [sampler.next_child() for _ in range(40)]
    fresh = strategy(name, 99).sampler
    fresh.restore(json.loads(kept))
    assert [fresh.next_child() for _ in range(40)] == expected


def test_sampler_refuses_what_cannot_be_sampled() -> None:
    with pytest.raises(SpaceError, match="broke a budget"):
        UniformSampler(CHOICES, random.Random(0), accepts=lambda child: False).next_child()
    with pytest.raises(SpaceError, match="0 of 2 positions have at least two operators"):
        GradualSampler([("a",), ("b",)], random.Random(0))
    with pytest.raises(SpaceError, match="cannot replace 4 operators: 3 of 4"):
        GradualSampler(CHOICES, random.Random(0), replaced_positions=4)
    alone = GradualSampler(CHOICES, random.Random(0), accepts=lambda c: c == ("a", "a", "only", "a"))
    alone.next_child()
    with pytest.raises(SpaceError, match="every neighbour of a-a-only-a breaks"):
        alone.next_child()


def test_strategies_are_what_their_words_say() -> None:
    made = {name: strategy(name, 0, fair_update="accumulated") for name in STRATEGIES}
    assert {name for name, one in made.items() if one.alignment} == {"magic-a", "magic-at"}
    assert {name for name, one in made.items() if one.imitation} == {"sandwich"}
    assert {name: one.children_per_update for name, one in made.items() if one.children_per_update > 1} == {
        "fair": 12,
        "sandwich": 3,
    }
    assert strategy("fair", 0).children_per_update == 1


@pytest.mark.parametrize(("name", "lacking"), [("sandwich", "imitate"), ("magic-at", "alignment")])
def test_a_strategy_says_what_it_lacks(name: str, lacking: str) -> None:
    build: Callable[[StrategySettings[str]], Strategy[str]] = STRATEGIES[name]
    with pytest.raises(ValueError, match=lacking):
        build(StrategySettings(CHOICES, random.Random(0)))
