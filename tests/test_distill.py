"""Distillation: the losses' zeros and bounds, the teacher's kept answers, and what `distill` trains."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.training.distill import (
    DistillLoss,
    DistillWeights,
    TeacherTargets,
    distill,
    embedding_groups,
    hidden_state_loss,
    soft_cross_entropy,
    teacher_targets,
)
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Checks, FitSettings, model_inputs, seeded


def random_tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.floats(0.2, 10))
def test_soft_cross_entropy_is_zero_only_when_equal(seed: int, temperature: float) -> None:
    student, teacher = random_tensor(5, 3, seed=seed), random_tensor(5, 3, seed=seed + 1)
    # Logits are known up to a constant a row.
    assert soft_cross_entropy(teacher + 2.0, teacher, temperature).item() == pytest.approx(0.0, abs=1e-4)
    assert soft_cross_entropy(student, teacher, temperature).item() > 1e-3


def test_soft_cross_entropy_is_the_divergence_times_squared_temperature() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0 * math.log(3.0), 0.0]])
    # At temperature 2 the teacher says 3/4 and 1/4, the student one half each.
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert soft_cross_entropy(student, teacher, 2.0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_soft_cross_entropy_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), temperature)


@given(st.integers(0, 1000), st.floats(0.1, 100))
def test_hidden_state_loss_lies_in_its_bounds_and_ignores_length(seed: int, scale: float) -> None:
    student, teacher = random_tensor(4, 8, seed=seed), random_tensor(4, 8, seed=seed + 1)
    loss = hidden_state_loss(student, teacher)
    assert 0.0 <= loss.item() <= 4.0
    torch.testing.assert_close(hidden_state_loss(scale * student, teacher), loss)
    assert hidden_state_loss(scale * teacher, teacher).item() == pytest.approx(0.0, abs=1e-5)
    assert hidden_state_loss(-teacher, teacher).item() == pytest.approx(4.0, abs=1e-5)


def test_targets_come_back_from_their_file(tmp_path: Path) -> None:
    targets = TeacherTargets(random_tensor(6, 2), random_tensor(6, 3, 32).half())
    targets.save(tmp_path / "targets.safetensors")
    loaded = TeacherTargets.load(tmp_path / "targets.safetensors")
    assert torch.equal(loaded.logits, targets.logits)
    assert torch.equal(loaded.hidden_states, targets.hidden_states)


def test_teacher_targets_keep_row_order(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit
) -> None:
    targets = teacher_targets(tiny_bert.train(), random_split, batch_size=5)
    assert targets.hidden_states.shape == (len(random_split), 3, 32)
    assert targets.hidden_states.dtype == torch.float16
    with torch.no_grad():
        for row in range(len(random_split)):
            batch = random_split.batch([row])
            output = tiny_bert(**model_inputs(batch), output_hidden_states=True)
            torch.testing.assert_close(targets.logits[row], output.logits[0], rtol=0, atol=1e-5)
            last = output.hidden_states[-1].mean(dim=1)[0]
            torch.testing.assert_close(targets.hidden_states[row, -1].float(), last, rtol=0, atol=2e-3)


def test_loss_weights_share_out_between_teacher_and_labels(random_split: TokenizedSplit) -> None:
    rows = len(random_split)
    targets = TeacherTargets(random_tensor(rows, 2), random_tensor(rows, 3, 32).half())
    batch, logits = random_split.batch([4, 1, 9]), random_tensor(3, 2, seed=1)
    hard = functional.cross_entropy(logits, batch["labels"])
    soft = soft_cross_entropy(logits, targets.logits[[4, 1, 9]], 2.0)
    for share in (0.0, 0.3, 1.0):
        loss = DistillLoss(targets, DistillWeights(share, 2.0))(logits, batch)
        torch.testing.assert_close(loss, share * soft + (1 - share) * hard)


def test_hidden_states_are_matched_at_equal_relative_depth(random_split: TokenizedSplit) -> None:
    batch = random_split.batch([0, 1])
    rows, tokens = len(random_split), batch["input_ids"].shape[1]
    targets = TeacherTargets(torch.zeros(rows, 2), random_tensor(rows, 3, 32).half())
    loss = DistillLoss(targets, DistillWeights(1.0, 2.0, hidden=1.0))

    def spread(layers: list[int]) -> tuple[torch.Tensor, ...]:
        return tuple(targets.hidden_states[:2, layer, None].float().repeat(1, tokens, 1) for layer in layers)

    # The logits agree, so that only the hidden states are left.
    assert loss(torch.zeros(2, 2), batch, spread([0, 1, 2])).item() == pytest.approx(0.0, abs=1e-5)
    assert loss(torch.zeros(2, 2), batch, spread([0, 2])).item() == pytest.approx(0.0, abs=1e-5)
    assert loss(torch.zeros(2, 2), batch, spread([2, 1, 0])).item() > 0.1
    narrow = tuple(torch.randn(2, tokens, 16) for _ in range(3))
    assert loss(torch.zeros(2, 2), batch, narrow).item() == pytest.approx(0.0, abs=1e-5)


def run_distill(
    student: BertForSequenceClassification,
    teacher: BertForSequenceClassification,
    split: TokenizedSplit,
    folder: Path,
    *,
    factor: float,
) -> tuple[float, float]:
    """Distill for 30 steps; the loss over the whole split before and after."""
    loss = DistillLoss(teacher_targets(teacher, split), DistillWeights(0.7, 2.0, hidden=0.1))
    batch = split.batch(range(len(split)))

    def total(model: torch.nn.Module) -> float:
        with torch.no_grad():
            output = model.eval()(**model_inputs(batch), output_hidden_states=True)
            return loss(output.logits, batch, tuple(output.hidden_states)).item()

    before = total(student)
    settings = FitSettings(num_steps=30, batch_size=16, learning_rate=3e-3)
    checks = Checks(lambda model: {"accuracy": -total(model)}, every=10, metric="accuracy", patience=9)
    with seeded(1) as rng, TrainingLog(folder, "student", None) as log:
        distill(student, split, loss, settings, rng=rng, log=log, checks=checks, embedding_factor=factor)
    return before, total(student)


@pytest.fixture
def student(tiny_bert_config: BertConfig) -> BertForSequenceClassification:
    """A student of one layer, its weights drawn from seed 1."""
    shallow = copy.deepcopy(tiny_bert_config)  # The teacher's own config keeps its depth.
    shallow.num_hidden_layers = 1
    with seeded(1):
        return BertForSequenceClassification(shallow)


@pytest.mark.parametrize("factor", [0.0, 0.3])
def test_distill_lowers_the_loss(
    tiny_bert: BertForSequenceClassification,
    student: BertForSequenceClassification,
    random_split: TokenizedSplit,
    tmp_path: Path,
    factor: float,
) -> None:
    embeddings = student.bert.embeddings.word_embeddings.weight
    start = embeddings.detach().clone()
    teacher = {name: tensor.clone() for name, tensor in tiny_bert.state_dict().items()}
    before, after = run_distill(student, tiny_bert, random_split, tmp_path, factor=factor)
    assert after < 0.9 * before
    assert torch.equal(embeddings, start) == (factor == 0.0)
    torch.testing.assert_close(tiny_bert.state_dict(), teacher, rtol=0, atol=0)


def test_embedding_groups_hold_every_trained_parameter_once(tiny_bert: BertForSequenceClassification) -> None:
    everything = {id(parameter) for parameter in tiny_bert.parameters()}
    groups = embedding_groups(tiny_bert, 0.3)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert [group["factor"] for group in groups] == [1.0, 0.3]
    assert len(grouped) == len(everything)
    assert set(grouped) == everything
    (others,) = embedding_groups(tiny_bert, 0.0)
    assert len(others["params"]) < len(everything)
    assert not any(parameter.requires_grad for parameter in tiny_bert.bert.embeddings.parameters())
