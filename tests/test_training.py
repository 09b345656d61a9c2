"""The training loop: seeds, schedule, best state, patience, parameter groups, the curve and row order."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.training.log import TrainingLog, read_curve
from bertcompress.training.loop import (
    Batch,
    Checks,
    FitResult,
    FitSettings,
    fit,
    linear_schedule,
    model_inputs,
    num_epoch_steps,
    predict,
    seeded,
    validation_metrics,
)

SETTINGS = FitSettings(num_steps=8, batch_size=8, learning_rate=1e-3)


def cross_entropy(model: nn.Module, batch: Batch, step: int) -> Tensor:
    return functional.cross_entropy(model(**model_inputs(batch)).logits, batch["labels"])


def run(
    model: nn.Module, split: TokenizedSplit, folder: Path, *, settings: FitSettings = SETTINGS, **extra: Any
) -> FitResult:
    with seeded(11) as rng, TrainingLog(folder, "test", None) as log:
        return fit(model, split, cross_entropy, settings, rng=rng, log=log, **extra)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_same_seed_same_weights(
    tiny_bert_config: BertConfig, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    tiny_bert_config.hidden_dropout_prob = 0.1
    start = BertForSequenceClassification(tiny_bert_config)
    one, other = copy.deepcopy(start), copy.deepcopy(start)
    run(one, random_split, tmp_path / "one")
    torch.rand(3)
    run(other, random_split, tmp_path / "other")
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)
    assert any(not torch.equal(tensor, weights(start)[name]) for name, tensor in weights(one).items())


def test_seeded_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    with seeded(3) as rng:
        first = (rng.random(), torch.rand(2).tolist())
    with seeded(3) as rng:
        assert (rng.random(), torch.rand(2).tolist()) == first
    assert torch.equal(torch.get_rng_state(), before)


class Scripted:
    """Validation that gives the scores of a list, and remembers the weights that it saw."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        model.eval()
        self.seen.append(weights(model))
        return {"accuracy": self.scores[len(self.seen) - 1]}


def test_best_state_is_restored(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    validation = Scripted([0.5, 0.9, 0.9, 0.7])
    result = run(tiny_bert, random_split, tmp_path, checks=Checks(validation, 2, "accuracy", patience=5))
    assert (result.num_steps, result.best_step, result.best_metrics) == (8, 4, {"accuracy": 0.9})
    torch.testing.assert_close(weights(tiny_bert), validation.seen[1], rtol=0, atol=0)
    assert not torch.equal(validation.seen[1]["classifier.weight"], validation.seen[3]["classifier.weight"])


@pytest.mark.parametrize("killed_at", [1, 3, 6])
def test_killed_and_resumed_keeps_the_best_state_and_the_patience(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path, killed_at: int
) -> None:
    settings = FitSettings(num_steps=8, batch_size=8, learning_rate=1e-3, checkpoint_every=1)
    scores = {1: 0.5, 2: 0.9, 3: 0.9, 4: 0.7, 5: 0.8, 6: 0.1, 7: 1.0}
    start = copy.deepcopy(tiny_bert)

    def train(model: nn.Module, folder: Path, kill: int = -1) -> FitResult:
        steps = Steps(kill)
        checks = Checks(lambda model: {"accuracy": scores[len(steps.seen)]}, 1, "accuracy", patience=4)
        return run(model, random_split, folder, settings=settings, checks=checks, hooks=steps)

    whole = train(tiny_bert, tmp_path / "whole")
    assert (whole.num_steps, whole.best_step) == (6, 2)
    with pytest.raises(InterruptedError):
        train(copy.deepcopy(start), tmp_path / "cut", killed_at - 1)
    assert train(start, tmp_path / "cut") == whole
    torch.testing.assert_close(weights(start), weights(tiny_bert), rtol=0, atol=0)


def test_patience_ends_the_training(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    validation = Scripted([0.5, 0.6, 0.6, 0.1, 0.9])
    result = run(tiny_bert, random_split, tmp_path, checks=Checks(validation, 1, "accuracy", patience=2))
    assert (result.num_steps, result.best_step) == (4, 2)


def test_last_step_is_always_checked(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    validation = Scripted([0.5, 0.6])
    result = run(tiny_bert, random_split, tmp_path, checks=Checks(validation, 5, "accuracy", patience=9))
    assert result.best_step == SETTINGS.num_steps


def test_schedule_climbs_to_one_and_falls_to_zero() -> None:
    settings = FitSettings(num_steps=100, batch_size=1, learning_rate=1.0, warmup_fraction=0.1)
    shares = [linear_schedule(step, settings) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[-1] < 0.02
    assert linear_schedule(0, FitSettings(num_steps=1, batch_size=1, learning_rate=1.0)) == 1.0


def test_group_factor_scales_the_step(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    # Adam's first step has the size of the learning rate, whatever the gradient.
    groups = [
        {"params": [tiny_bert.classifier.weight], "factor": 1.0},
        {"params": [tiny_bert.classifier.bias], "factor": 0.25},
    ]
    before = weights(tiny_bert)
    one_step = FitSettings(num_steps=1, batch_size=8, learning_rate=1e-2, weight_decay=0.0)
    run(tiny_bert, random_split, tmp_path, settings=one_step, parameter_groups=groups)
    moved = {name: (tensor - before[name]).abs().max().item() for name, tensor in weights(tiny_bert).items()}
    assert moved["classifier.weight"] == pytest.approx(1e-2, rel=1e-2)
    assert moved["classifier.bias"] == pytest.approx(2.5e-3, rel=1e-2)
    assert {name for name, size in moved.items() if size} == {"classifier.weight", "classifier.bias"}


class Steps:
    """Hooks that note the steps; the process ends right after the step `kill`."""

    def __init__(self, kill: int = -1) -> None:
        self.seen: list[int] = []
        self.kill = kill

    def after_step(self, step: int) -> None:
        self.seen.append(step)
        if step == self.kill:
            raise InterruptedError

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.seen = list(state["seen"])


def test_curve_is_written_and_read_back(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    assert read_curve(tmp_path) == []
    settings = FitSettings(num_steps=25, batch_size=8, learning_rate=1e-3)
    checks = Checks(Scripted([0.5, 0.75]), 20, "accuracy", patience=9)
    steps = Steps()
    run(tiny_bert, random_split, tmp_path, settings=settings, checks=checks, hooks=steps)
    curve = read_curve(tmp_path)
    assert steps.seen == list(range(25))
    assert [point["step"] for point in curve if "loss" in point] == [20, 25]
    assert [point["validation_accuracy"] for point in curve if "validation_accuracy" in point] == [0.5, 0.75]
    assert list((tmp_path / "tensorboard").iterdir())


def test_gradients_of_several_losses_are_summed_into_one_update(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    def halves(model: nn.Module, batch: Batch, step: int) -> Iterator[Tensor]:
        for _ in range(2):
            yield cross_entropy(model, batch, step) / 2

    other = copy.deepcopy(tiny_bert)
    run(tiny_bert, random_split, tmp_path / "one")
    with seeded(11) as rng, TrainingLog(tmp_path / "halves", "test", None) as log:
        fit(other, random_split, halves, SETTINGS, rng=rng, log=log)
    torch.testing.assert_close(weights(other), weights(tiny_bert), rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="at least one loss"), TrainingLog(tmp_path, "test", None) as log:
        fit(other, random_split, lambda *arguments: [], SETTINGS, rng=rng, log=log)


def test_training_lowers_the_loss(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    rows = random_split.batch(range(len(random_split)))

    def loss() -> float:
        return cross_entropy(tiny_bert.eval(), rows, 0).item()

    before = loss()
    run(tiny_bert, random_split, tmp_path, settings=FitSettings(40, batch_size=16, learning_rate=3e-3))
    assert loss() < 0.8 * before


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_predict_keeps_row_order(random_split: TokenizedSplit, batch_size: int) -> None:
    rows = predict(lambda batch: batch["index"][:, None], random_split, batch_size=batch_size)
    assert rows[:, 0].tolist() == list(range(len(random_split)))


def test_validation_metrics_sees_each_row_with_its_label(
    tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit
) -> None:
    tiny_bert.train()
    metrics = validation_metrics(
        tiny_bert,
        random_split,
        lambda logits, labels: {"accuracy": float((logits.argmax(1) == labels).mean())},
    )
    assert not tiny_bert.training
    hits = []
    for row in range(len(random_split)):
        batch = random_split.batch([row])
        logits = tiny_bert(**model_inputs(batch)).logits
        hits.append(logits.argmax(1).item() == batch["labels"].item())
    assert metrics["accuracy"] == pytest.approx(sum(hits) / len(hits))


def test_num_epoch_steps_counts_the_last_short_batch(random_split: TokenizedSplit) -> None:
    n = len(random_split)
    assert [num_epoch_steps(random_split, size) for size in (1, n - 1, n, n + 1)] == [n, 2, 1, 1]
