"""The supernet: the teacher is a child, an extracted child equals the child inside, and warm starts copy."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertForSequenceClassification

from bertcompress.errors import SpaceError, TeacherError
from bertcompress.model import bert_dimensions
from bertcompress.space import IDENTITY, Dimensions, Operator, SearchSpace, teacher_child
from bertcompress.supernet import (
    Importance,
    SuperBert,
    extract,
    factorize,
    measure_importance,
    nearest_to_teacher,
    warm_start,
    weight_importance,
)

Batch = Callable[..., dict[str, Tensor]]
NAMES = ("mha4", "mha2", "ffn64", "ffn16", "conv3", "conv5", "identity")


def roughen(model: torch.nn.Module, seed: int = 1) -> None:
    """Weights large enough that a wrong connection moves the logits far beyond rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)


@pytest.fixture
def teacher(tiny_bert: BertForSequenceClassification) -> BertForSequenceClassification:
    roughen(tiny_bert)
    return tiny_bert


@pytest.fixture
def space(teacher: BertForSequenceClassification) -> SearchSpace:
    return SearchSpace.uniform(bert_dimensions(teacher.config), 4, NAMES)


@pytest.fixture
def supernet(space: SearchSpace) -> SuperBert:
    made = SuperBert(space).eval()
    roughen(made)
    return made


def test_the_teacher_is_the_child_nearest_to_itself(space: SearchSpace) -> None:
    teacher = teacher_child(2, 4, 64)
    assert nearest_to_teacher(space, teacher) == teacher
    longer = SearchSpace(space.dimensions, (*space.choices, *space.choices))
    assert nearest_to_teacher(longer, teacher) == (*teacher, *[IDENTITY] * 4)


def test_the_nearest_child_takes_the_largest_of_the_kind_or_of_all() -> None:
    dimensions = Dimensions(
        vocab_size=97, hidden_size=32, embedding_size=32, head_size=8, num_labels=2, pooling="mean"
    )
    space = SearchSpace.uniform(dimensions, 3, ["mha1", "mha3", "conv5", "conv3"])
    names = [operator.name for operator in nearest_to_teacher(space, teacher_child(1, 4, 64))]
    # No feed-forward, no identity: the largest operator stands in.
    assert names == ["mha3", "mha3", "mha3"]


def test_alternating_child_equals_the_teacher(
    space: SearchSpace, teacher: BertForSequenceClassification, padded_batch: Batch
) -> None:
    supernet = SuperBert(space).eval()
    warm_start(supernet, teacher)
    batch = padded_batch([12, 5, 1])
    inside = supernet(**batch, architecture=teacher_child(2, 4, 64)).logits
    torch.testing.assert_close(inside, teacher(**batch).logits, rtol=0, atol=1e-5)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_extracted_child_equals_supernet(supernet: SuperBert, padded_batch: Batch, seed: int) -> None:
    child = supernet.space.sample(random.Random(seed))
    batch = padded_batch([9, 4], seed=seed % 1000)
    inside = supernet(**batch, architecture=child)
    alone = extract(supernet, child)
    torch.testing.assert_close(alone(**batch).logits, inside.logits, rtol=0, atol=1e-5)
    assert sum(weight.numel() for weight in alone.parameters()) == alone.architecture.num_parameters
    assert len(inside.hidden_states) == supernet.space.num_positions + 1


def test_extracted_weights_are_copies(supernet: SuperBert) -> None:
    alone = extract(supernet, supernet.space.largest())
    before = [weight.clone() for weight in supernet.parameters()]
    with torch.no_grad():
        for weight in alone.parameters():
            weight.zero_()
    torch.testing.assert_close(list(supernet.parameters()), before, rtol=0, atol=0)


def test_identity_repeats_the_state_before_it(supernet: SuperBert, padded_batch: Batch) -> None:
    child = (Operator("mha", 4), IDENTITY, Operator("conv", 3), IDENTITY)
    states = supernet(**padded_batch([5, 2]), architecture=child).hidden_states
    assert states[2] is states[1]
    assert states[4] is states[3]
    assert states[3] is not states[2]


def test_only_the_trained_child_gets_gradients(supernet: SuperBert, padded_batch: Batch) -> None:
    child = (Operator("mha", 4), Operator("conv", 3), IDENTITY, Operator("ffn", 16))
    supernet(**padded_batch([5, 2]), architecture=child).logits.sum().backward()
    touched = {
        (position, name)
        for position, modules in enumerate(supernet.positions)
        for name, module in modules.items()
        if any(weight.grad is not None for weight in module.parameters())
    }
    assert touched == {(0, "mha4"), (1, "conv3"), (3, "ffn16")}


def test_a_stranger_is_not_run(supernet: SuperBert, padded_batch: Batch) -> None:
    with pytest.raises(SpaceError, match="4, one a position"):
        supernet(**padded_batch([3]), architecture=(IDENTITY,))


def test_same_generator_same_weights(space: SearchSpace, teacher: BertForSequenceClassification) -> None:
    first, second = (SuperBert(space, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    for each in (first, second):
        warm_start(each, teacher, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


def test_smaller_operators_take_the_most_important_parts(
    space: SearchSpace, teacher: BertForSequenceClassification
) -> None:
    heads = torch.tensor([[0.0, 3.0, 1.0, 2.0], [9.0, 0.0, 0.0, 8.0]])
    neurons = torch.stack([torch.arange(64.0), -torch.arange(64.0)])
    supernet = SuperBert(space)
    warm_start(supernet, teacher, importance=Importance(heads, neurons))
    # 4 positions over 2 layers: positions 0 and 1 are layer 0, positions 2 and 3 are layer 1.
    for position, kept_heads, kept_neurons in ((0, (1, 3), range(48, 64)), (3, (0, 3), range(16))):
        layer = teacher.bert.encoder.layer[position // 2]
        attention = supernet.positions[position]["mha2"]
        rows = [head * 8 + offset for head in kept_heads for offset in range(8)]
        torch.testing.assert_close(attention.query.weight, layer.attention.self.query.weight[rows])
        torch.testing.assert_close(attention.value.bias, layer.attention.self.value.bias[rows])
        torch.testing.assert_close(attention.output.weight, layer.attention.output.dense.weight[:, rows])
        feed_forward = supernet.positions[position]["ffn16"]
        columns = list(kept_neurons)
        torch.testing.assert_close(feed_forward.inner.weight, layer.intermediate.dense.weight[columns])
        torch.testing.assert_close(feed_forward.output.weight, layer.output.dense.weight[:, columns])


def test_wider_feed_forward_starts_as_the_teachers(
    teacher: BertForSequenceClassification, padded_batch: Batch
) -> None:
    space = SearchSpace.uniform(bert_dimensions(teacher.config), 4, ["mha4", "ffn100"])
    supernet = SuperBert(space).eval()
    warm_start(supernet, teacher)
    batch = padded_batch([6, 2])
    inside = supernet(**batch, architecture=teacher_child(2, 4, 100)).logits
    torch.testing.assert_close(inside, teacher(**batch).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 8, 32])
def test_factorizing_is_the_best_of_its_rank_and_exact_at_full_rank(rank: int) -> None:
    weight = torch.randn(97, 32, generator=torch.Generator().manual_seed(0))
    words, projection = factorize(weight, rank)
    assert (words.shape, projection.shape) == ((97, rank), (32, rank))
    error = (words @ projection.T - weight).square().sum()
    optimum = torch.linalg.svdvals(weight)[rank:].square().sum()
    torch.testing.assert_close(error, optimum, rtol=1e-4, atol=1e-6)


def test_embeddings_of_low_rank_survive_factorizing(
    teacher: BertForSequenceClassification, padded_batch: Batch
) -> None:
    words = teacher.bert.embeddings.word_embeddings.weight
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        words.copy_(torch.randn(97, 8, generator=generator) @ torch.randn(8, 32, generator=generator))
    dimensions = bert_dimensions(teacher.config, embedding_size=8)
    supernet = SuperBert(SearchSpace.uniform(dimensions, 4, ["mha4", "ffn64"])).eval()
    warm_start(supernet, teacher)
    batch = padded_batch([6, 2])
    inside = supernet(**batch, architecture=teacher_child(2, 4, 64)).logits
    torch.testing.assert_close(inside, teacher(**batch).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("num_labels", "copied"), [(2, True), (5, False)])
def test_head_is_copied_where_it_fits(
    teacher: BertForSequenceClassification, num_labels: int, copied: bool
) -> None:
    dimensions = bert_dimensions(teacher.config, pooling="mean", num_labels=num_labels)
    supernet = SuperBert(SearchSpace.uniform(dimensions, 2, ["conv3"]))
    warm_start(supernet, teacher)
    assert torch.equal(supernet.head.dense.weight, teacher.bert.pooler.dense.weight)
    ours, theirs = supernet.head.classifier.weight, teacher.classifier.weight
    assert (ours.shape == theirs.shape and torch.equal(ours, theirs)) is copied


def test_a_teacher_of_another_width_is_refused_with_all_reasons(
    teacher: BertForSequenceClassification,
) -> None:
    dimensions = Dimensions(50, 16, 16, 4, 2, "cls", max_position_embeddings=100)
    supernet = SuperBert(SearchSpace.uniform(dimensions, 2, ["conv3"]))
    with pytest.raises(TeacherError, match="4 problems") as error:
        warm_start(supernet, teacher)
    expected = ("vocab_size", "hidden_size", "head_size", "max_position_embeddings")
    assert [key for key in expected if key not in str(error.value)] == []


@pytest.mark.parametrize("frozen", [False, True])
def test_a_silent_head_and_neuron_have_no_importance(
    teacher: BertForSequenceClassification, padded_batch: Batch, frozen: bool
) -> None:
    layer = teacher.bert.encoder.layer[1]
    with torch.no_grad():
        layer.attention.output.dense.weight[:, 8:16] = 0.0  # head 1
        layer.output.dense.weight[:, 5] = 0.0
    teacher.requires_grad_(not frozen)
    batches = [padded_batch([7, 4], seed=seed) | {"labels": torch.tensor([0, 1])} for seed in range(2)]
    for importance in (measure_importance(teacher, batches), weight_importance(teacher)):
        assert importance.heads.shape == (2, 4)
        assert importance.neurons.shape == (2, 64)
        assert importance.heads[1].argmin() == 1
        assert importance.neurons[1, 5] == 0
        assert importance.heads[0].min() > 0
    assert not teacher.training
    assert all(weight.grad is None for weight in teacher.parameters())


def test_importance_does_not_depend_on_batching(
    teacher: BertForSequenceClassification, padded_batch: Batch
) -> None:
    batch = padded_batch([7, 4, 6]) | {"labels": torch.tensor([0, 1, 1])}
    singles = [{key: value[row : row + 1] for key, value in batch.items()} for row in range(3)]
    together, apart = measure_importance(teacher, [batch]), measure_importance(teacher, singles)
    torch.testing.assert_close(together.heads, apart.heads, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together.neurons, apart.neurons, rtol=1e-4, atol=1e-6)


def test_importance_needs_data(teacher: BertForSequenceClassification) -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        measure_importance(teacher, [])
