"""Training of the supernet: a sampler picks each step's child, an alignment may add a loss to the task's own.

Strategies are pairs of the two (see `sampling`); the task's loss is the caller's, usually distillation."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.space import Child, Operator
from bertcompress.supernet.alignment import Anchor, Ramp, alignment_loss
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.sampling import Sampler
from bertcompress.training import Batch, FitResult, FitSettings, TrainingLog, fit, model_inputs, predict

TaskLoss = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class AlignmentSettings:
    """How MAGIC-A runs: the ramp of its weight, and how often a trained child may replace the anchor."""

    ramp: Ramp
    check_every: int


def train_supernet(
    supernet: SuperBert,
    split: TokenizedSplit,
    task_loss: TaskLoss,
    settings: FitSettings,
    *,
    sampler: Sampler[Operator],
    alignment: AlignmentSettings | None,
    dev_loss: Callable[[Child], float],
    parameter_groups: Sequence[dict[str, object]],
    rng: random.Random,
    log: TrainingLog,
) -> tuple[FitResult, Anchor[Child] | None]:
    """Train `supernet` in place, one sampled child a step; returns the anchor too (None without alignment).

    The first anchor is the first sampled child: the ramp gives checks on the dev set time to improve it.
    """
    aligned = _AlignedStep(supernet, sampler, task_loss, alignment, settings.num_steps, dev_loss)
    result = fit(
        supernet,
        split,
        aligned.loss_of,
        settings,
        rng=rng,
        log=log,
        parameter_groups=parameter_groups,
        after_step=lambda step: aligned.after_step(step, log),
    )
    return result, aligned.anchor


class _AlignedStep:
    """One supernet step: forward the sampled child, and the anchor too while its weight is above zero."""

    def __init__(
        self,
        supernet: SuperBert,
        sampler: Sampler[Operator],
        task_loss: TaskLoss,
        alignment: AlignmentSettings | None,
        num_steps: int,
        dev_loss: Callable[[Child], float],
    ) -> None:
        self._supernet, self._sampler, self._task_loss = supernet, sampler, task_loss
        self._alignment, self._num_steps, self._dev_loss = alignment, num_steps, dev_loss
        self.anchor: Anchor[Child] | None = None
        self._child: Child = ()

    def loss_of(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        self._child = self._sampler.next_child()
        inputs = model_inputs(batch)
        output = model(**inputs, architecture=self._child)
        loss = self._task_loss(output.logits, batch)
        if self._alignment is None:
            return loss
        if self.anchor is None:
            self.anchor = Anchor(self._child)
        weight = self._alignment.ramp.at(step, self._num_steps)
        if weight == 0.0 or self.anchor.child == self._child:
            return loss
        with torch.no_grad():
            target = model(**inputs, architecture=self.anchor.child)
        # The embeddings are the same tensor in both, so the alignment starts after the first position.
        pull = alignment_loss(output.hidden_states[1:], target.hidden_states[1:], batch["attention_mask"])
        return loss + weight * pull

    def after_step(self, step: int, log: TrainingLog) -> None:
        if self._alignment is None or self.anchor is None or (step + 1) % self._alignment.check_every:
            return
        replaced = self.anchor.consider(self._child, self._dev_loss)
        self._supernet.train()
        log.write(step + 1, {"anchor_replaced": float(replaced)})


def child_logits(supernet: SuperBert, child: Child, split: TokenizedSplit, *, batch_size: int = 64) -> Tensor:
    """Logits (N, C) of one child over `split`, with the shared weights, in eval mode."""
    supernet.eval()
    device = next(supernet.parameters()).device

    def logits_of(batch: Batch) -> Tensor:
        inputs = {name: tensor.to(device) for name, tensor in model_inputs(batch).items()}
        logits: Tensor = supernet(**inputs, architecture=child).logits
        return logits

    return predict(logits_of, split, batch_size=batch_size)
