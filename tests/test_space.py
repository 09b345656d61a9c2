"""The search space: names round trip, counts agree with themselves, and errors name every problem at once."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.errors import SpaceError
from bertcompress.space import (
    IDENTITY,
    Architecture,
    Dimensions,
    Operator,
    SearchSpace,
    canonical,
    operator_macs,
    operator_parameters,
    teacher_child,
)

DIMENSIONS = Dimensions(97, 32, 32, 8, 2, "mean", max_position_embeddings=48)
OPERATORS = st.one_of(
    st.just(IDENTITY),
    st.builds(Operator, st.just("mha"), st.integers(1, 4)),
    st.builds(Operator, st.just("ffn"), st.integers(1, 200)),
    st.builds(Operator, st.just("conv"), st.integers(0, 5).map(lambda half: 2 * half + 1)),
)
CHILDREN = st.lists(OPERATORS, max_size=8).map(tuple)


@given(OPERATORS)
def test_operator_name_reads_back(operator: Operator) -> None:
    assert Operator.parse(operator.name) == operator


@pytest.mark.parametrize("name", ["mha0", "ffn0", "conv4", "mha", "lstm3", "mha-1", "identity3", "", "mha6 "])
def test_unbuildable_name_is_refused(name: str) -> None:
    with pytest.raises(SpaceError):
        Operator.parse(name)


@given(CHILDREN)
def test_canonical_form_is_idempotent_and_keeps_order(child: tuple[Operator, ...]) -> None:
    assert canonical(canonical(child)) == canonical(child) == tuple(op for op in child if op != IDENTITY)


@given(CHILDREN)
def test_architecture_reads_back_from_json(child: tuple[Operator, ...]) -> None:
    architecture = Architecture(DIMENSIONS, child)
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


@given(CHILDREN, st.integers(1, 48), st.integers(1, 8))
def test_counts_add_up_over_operators(child: tuple[Operator, ...], length: int, batch_size: int) -> None:
    architecture, empty = Architecture(DIMENSIONS, child), Architecture(DIMENSIONS, ())
    parameters = sum(operator_parameters(operator, DIMENSIONS) for operator in child)
    macs = sum(operator_macs(operator, DIMENSIONS, length) for operator in child)
    assert architecture.num_parameters == empty.num_parameters + parameters
    assert architecture.macs(length, batch_size) == batch_size * (empty.macs(length) + macs)


def test_published_count_of_a_known_bert() -> None:
    # bert-base-uncased with its pooler has 109,482,240 weights; a classifier of 2 labels adds 1,538.
    base = Dimensions(30522, 768, 768, 64, 2, "cls")
    assert Architecture(base, teacher_child(12, 12, 3072)).num_parameters == 109_482_240 + 1_538


@given(st.integers(0, 2**32))
def test_samples_are_children_between_smallest_and_largest(seed: int) -> None:
    space = SearchSpace.uniform(DIMENSIONS, 4, ["mha4", "ffn64", "conv3", "identity"])
    child = space.sample(random.Random(seed))
    assert space.contains(child)
    counts = [space.architecture(each).num_parameters for each in (space.smallest(), child, space.largest())]
    assert counts == sorted(counts)
    assert child == space.sample(random.Random(seed))


def test_children_are_counted_as_a_product() -> None:
    space = SearchSpace(DIMENSIONS, ((Operator("mha", 1), IDENTITY), (Operator("conv", 3),) * 1, (IDENTITY,)))
    assert (space.num_children, space.num_positions) == (2, 3)
    assert space.architecture(space.smallest()).name == "conv3"
    assert Architecture(DIMENSIONS, (IDENTITY,)).name == "embeddings-only"


def test_a_space_names_all_its_problems_at_once() -> None:
    with pytest.raises(SpaceError) as error:
        SearchSpace.uniform(DIMENSIONS, 0, ["mha9", "lstm3", "conv4", "ffn64", "ffn64"])
    message = str(error.value)
    expected = ("num_positions: 0", "operators[0]", "use 1 to 4 heads", "lstm3", "conv4", "listed twice")
    assert [part for part in expected if part not in message] == []


def test_choices_name_all_their_problems_at_once() -> None:
    ffn = Operator("ffn", 64)
    with pytest.raises(SpaceError, match=r"3 problems"):
        SearchSpace(DIMENSIONS, ((), (ffn, ffn), (Operator("mha", 5),)))
    with pytest.raises(SpaceError, match="no position"):
        SearchSpace(DIMENSIONS, ())


def test_dimensions_name_all_their_problems_at_once() -> None:
    with pytest.raises(SpaceError, match=r"4 problems") as error:
        Dimensions(0, 32, 64, 40, 2, "median")  # type: ignore[arg-type]
    assert all(key in str(error.value) for key in ("vocab_size", "pooling", "embedding_size", "head_size"))


def test_a_stranger_is_no_child() -> None:
    space = SearchSpace.uniform(DIMENSIONS, 2, ["mha4", "ffn64"])
    with pytest.raises(SpaceError, match="position 1: conv3 is not a choice; use mha4, ffn64"):
        space.architecture((Operator("mha", 4), Operator("conv", 3)))
    with pytest.raises(SpaceError, match="1 operators; use 2"):
        space.architecture((Operator("mha", 4),))
