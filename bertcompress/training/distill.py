"""Distillation: what the teacher knows about the training split, kept once, and the losses that pass it on.

Logits: Hinton et al. 2015 (arXiv 1503.02531). Hidden states: the teacher's layers, averaged over the tokens
of a text and normalised, in the manner of Patient-KD (Sun et al. 2019, arXiv 1908.09355); neither needs equal
head counts or equal depths, and both are read from memory, so the teacher runs once, not every step."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from bertcompress.data.batches import epoch_batches, in_row_order
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.model.head import pool_mean
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, Checks, FitResult, FitSettings, fit, model_inputs


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Distillation loss on logits (B, C): a scalar averaged over B (Hinton et al. 2015).

    It is the KL divergence, zero when both agree, times temperature**2, so gradients keep their scale.

    Raises:
        ValueError: temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    log_student = functional.log_softmax(student / temperature, dim=-1)
    soft_teacher = functional.softmax(teacher / temperature, dim=-1)
    return functional.kl_div(log_student, soft_teacher, reduction="batchmean") * temperature**2


def hidden_state_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of unit vectors (B, D), mean over B: a scalar in [0, 4] (Sun et al. 2019, eq. 7)."""
    difference = functional.normalize(student, dim=-1) - functional.normalize(teacher, dim=-1)
    return difference.square().sum(dim=-1).mean()


@dataclass(frozen=True)
class TeacherTargets:
    """The teacher's answers on N rows.

    Logits are (N, C). Hidden states, pooled over tokens and in half precision, are (M, L + 1, D): those of
    the first M rows.
    """

    logits: Tensor
    hidden_states: Tensor

    def followed_by(self, logits: Tensor) -> TeacherTargets:
        """Return the targets with further rows of logits, which have no hidden states."""
        return TeacherTargets(torch.cat([self.logits, logits]), self.hidden_states)

    def save(self, path: Path) -> None:
        """Write both tensors as safetensors."""
        save_file({"logits": self.logits, "hidden_states": self.hidden_states}, str(path))

    @classmethod
    def load(cls, path: Path) -> TeacherTargets:
        """Read what `save` wrote."""
        tensors = load_file(str(path))
        return cls(tensors["logits"], tensors["hidden_states"])


@torch.inference_mode()
def teacher_targets(
    teacher: PreTrainedModel, split: TokenizedSplit, *, batch_size: int = 64
) -> TeacherTargets:
    """Run the teacher once over `split`; rows come in the split's own order."""
    teacher.eval()
    logits: list[Tensor] = []
    hidden: list[Tensor] = []
    batches = epoch_batches(split, batch_size, None)
    for indices in batches:
        batch = split.batch(indices)
        output = teacher(**model_inputs(batch), output_hidden_states=True)
        logits.append(output.logits.float())
        pooled = [pool_mean(state, batch["attention_mask"]) for state in output.hidden_states]
        hidden.append(torch.stack(pooled, dim=1).half())  # (B, L + 1, D)
    return TeacherTargets(in_row_order(logits, batches), in_row_order(hidden, batches))


@dataclass(frozen=True)
class DistillWeights:
    """Shares of the losses: `logits` for the teacher's logits, the rest for labels, `hidden` added."""

    logits: float
    temperature: float
    hidden: float = 0.0


class DistillLoss:
    """Loss of a student's batch against labels and teacher: callable on logits (B, C) and hidden states.

    Rows without a label (below 0) follow the teacher alone. Hidden states of the student, one a position
    after the embeddings, are matched with the teacher's layers at equal relative depth, on the rows whose
    hidden states are known; they are left out where the widths differ.
    """

    def __init__(self, targets: TeacherTargets, weights: DistillWeights) -> None:
        self._targets, self._weights = targets, weights

    def __call__(
        self, logits: Tensor, batch: Mapping[str, Tensor], hidden_states: tuple[Tensor, ...] = ()
    ) -> Tensor:
        rows, labels, weights = batch["index"].cpu(), batch["labels"], self._weights
        theirs = self._targets.logits[rows].to(logits.device)
        labelled = labels >= 0
        loss = logits.new_zeros(())
        # Two means, weighted by their shares of the batch.
        if bool(labelled.any()):
            soft = soft_cross_entropy(logits[labelled], theirs[labelled], weights.temperature)
            hard = functional.cross_entropy(logits[labelled], labels[labelled])
            loss = labelled.float().mean() * (weights.logits * soft + (1 - weights.logits) * hard)
        if not bool(labelled.all()):
            soft = soft_cross_entropy(logits[~labelled], theirs[~labelled], weights.temperature)
            loss = loss + (~labelled).float().mean() * soft
        if weights.hidden and hidden_states:
            loss = loss + weights.hidden * self._hidden_loss(hidden_states, batch["attention_mask"], rows)
        return loss

    def _hidden_loss(self, hidden_states: tuple[Tensor, ...], attention_mask: Tensor, rows: Tensor) -> Tensor:
        depth, num_layers = len(hidden_states) - 1, self._targets.hidden_states.shape[1] - 1
        known = rows < len(self._targets.hidden_states)
        losses = []
        for position, state in enumerate(hidden_states if bool(known.any()) else ()):
            layer = round(position * num_layers / depth) if depth else 0
            theirs = self._targets.hidden_states[rows[known], layer].to(state.device, state.dtype)
            if theirs.shape[-1] == state.shape[-1]:
                ours = pool_mean(state, attention_mask)[known.to(state.device)]
                losses.append(hidden_state_loss(ours, theirs))
        return torch.stack(losses).mean() if losses else attention_mask.new_zeros((), dtype=torch.float32)


def embedding_groups(model: nn.Module, embedding_factor: float) -> list[dict[str, Any]]:
    """Optimizer groups: embeddings at `embedding_factor` of the learning rate, frozen when it is zero."""
    embeddings = [p for name, p in model.named_parameters() if "embeddings." in name]
    others = [p for name, p in model.named_parameters() if "embeddings." not in name]
    for parameter in embeddings:
        parameter.requires_grad_(embedding_factor > 0)
    groups: list[dict[str, Any]] = [{"params": others, "factor": 1.0}]
    if embedding_factor > 0:
        groups.append({"params": embeddings, "factor": embedding_factor})
    return groups


def distill(
    student: PreTrainedModel,
    split: TokenizedSplit,
    loss: DistillLoss,
    settings: FitSettings,
    *,
    rng: random.Random,
    log: TrainingLog,
    checks: Checks,
    embedding_factor: float,
) -> FitResult:
    """Train `student` on the teacher's answers; it ends with the best weights of the validation checks."""

    def loss_of(model: nn.Module, batch: Batch, step: int) -> Tensor:
        output = model(**model_inputs(batch), output_hidden_states=True)
        return loss(output.logits, batch, tuple(output.hidden_states))

    groups = embedding_groups(student, embedding_factor)
    return fit(student, split, loss_of, settings, rng=rng, log=log, parameter_groups=groups, checks=checks)
