"""The one training loop: teacher, supernet, student and baseline all run through `fit`.

It knows batches, a loss, an optimizer and a schedule; what is trained, and how the loss comes about, is the
caller's. Runs on accelerate, so `accelerate launch` gives mixed precision and several processes; every
process draws the same random numbers and takes its own share of each batch. A killed training goes on from
its last checkpoint and ends with the weights of one never killed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from bertcompress.data.batches import BatchSource, EndlessBatches, epoch_batches, in_row_order
from bertcompress.data.random_state import Stateful
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.training.checkpoint import CHECKPOINT_NAME, Checkpoint, OptimizerState, TorchRandom, Weights
from bertcompress.training.log import TrainingLog

Batch: TypeAlias = dict[str, Tensor]
LossOf: TypeAlias = Callable[[nn.Module, Batch, int], Tensor | Iterable[Tensor]]
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
LOG_EVERY = 20


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a batch that a model takes: ids, mask and token types, (B, T) each."""
    return {name: batch[name] for name in INPUT_NAMES}


@dataclass(frozen=True)
class FitSettings:
    """Length and optimizer of one training: AdamW, linear warm-up, then linear decay to zero.

    With `checkpoint_every` steps a checkpoint lies in the log's folder, and a training there goes on from it.
    """

    num_steps: int
    batch_size: int
    learning_rate: float
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    checkpoint_every: int | None = None


@dataclass(frozen=True)
class Checks:
    """What is measured on the validation split while training: the best state is kept, and patience ends it.

    `evaluate` returns the validation metrics; `metric` is the one that decides, higher is better.
    """

    evaluate: Callable[[nn.Module], Mapping[str, float]]
    every: int
    metric: str
    patience: int


class Hooks(Stateful, Protocol):
    """What the caller does after an update, with what it remembers from one to the next."""

    def after_step(self, step: int) -> None:
        """Act on the updated weights; `step` is 0-based."""


@dataclass
class FitResult:
    """What a training came to: steps taken, the curve, the best validation metrics (empty without checks)."""

    num_steps: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    best_step: int = 0


@contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Seed torch inside the block only (initialisation and dropout read its state) and yield a seeded rng."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield random.Random(seed)


def linear_schedule(step: int, settings: FitSettings) -> float:
    """Share of the peak learning rate at `step` (0-based)."""
    warmup = max(1, int(settings.warmup_fraction * settings.num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return (settings.num_steps - step) / max(1, settings.num_steps - warmup)


def num_epoch_steps(split: BatchSource, batch_size: int) -> int:
    """Steps in one pass over `split`."""
    return max(1, -(-len(split) // batch_size))


def fit(
    model: nn.Module,
    split: BatchSource,
    loss_of: LossOf,
    settings: FitSettings,
    *,
    rng: random.Random,
    log: TrainingLog,
    parameter_groups: Sequence[dict[str, Any]] | None = None,
    checks: Checks | None = None,
    hooks: Hooks | None = None,
) -> FitResult:
    """Train `model` in place on `split`; `loss_of(model, batch, step)` gives a step's scalar loss.

    It may also yield several, whose gradients are summed into one update. A parameter group may hold
    `factor`, its share of the learning rate. With `checks`, the model ends with its best validation state and
    may stop early.

    Raises:
        RunFolderError: the log's folder holds a checkpoint of something else.
    """
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    wrapped, optimizer = accelerator.prepare(model, make_optimizer(model, settings, parameter_groups))
    keeper = _BestState(model, checks, log)
    batches = EndlessBatches(split, settings.batch_size, rng)
    parts: dict[str, Stateful] = {
        "weights": Weights(model),
        "optimizer": OptimizerState(optimizer, accelerator),
        "batches": batches,
        "best": keeper,
        "torch": TorchRandom(accelerator),
    }
    if hooks is not None:
        parts["hooks"] = hooks
    checkpoint = Checkpoint(log.folder / CHECKPOINT_NAME, parts, accelerator)
    start = checkpoint.restore() if settings.checkpoint_every else 0
    log.begin(start, writes=accelerator.is_main_process)
    wrapped.train()
    step = start - 1
    for step in range(start, settings.num_steps):
        share = next(batches)[accelerator.process_index :: accelerator.num_processes] or [0]
        batch = {name: tensor.to(accelerator.device) for name, tensor in split.batch(share).items()}
        schedule(optimizer, settings, step)
        loss = update(accelerator, model, optimizer, loss_of(wrapped, batch, step), settings)
        if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.num_steps:
            log.advance(step + 1, settings.num_steps, loss.item())
        if hooks is not None:
            hooks.after_step(step)
        if keeper.out_of_patience(step + 1, settings.num_steps):
            break
        if settings.checkpoint_every and (step + 1) % settings.checkpoint_every == 0:
            checkpoint.save(step + 1)
    return keeper.restore_best(step + 1)


def make_optimizer(
    model: nn.Module, settings: FitSettings, parameter_groups: Sequence[dict[str, Any]] | None = None
) -> torch.optim.Optimizer:
    """AdamW over the groups, or over all parameters that are trained."""
    groups = list(parameter_groups or [{"params": [p for p in model.parameters() if p.requires_grad]}])
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def schedule(optimizer: torch.optim.Optimizer, settings: FitSettings, step: int) -> None:
    """Set the learning rates of `step` (0-based)."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * group.get("factor", 1.0) * linear_schedule(step, settings)


def update(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Tensor | Iterable[Tensor],
    settings: FitSettings,
) -> Tensor:
    """One optimizer step on the summed gradients of `losses`; their sum, a scalar.

    A loss is backpropagated before the next one is asked for, so that one graph is in memory at a time.
    """
    optimizer.zero_grad()
    total: Tensor | None = None
    for loss in [losses] if isinstance(losses, Tensor) else losses:
        accelerator.backward(loss)
        total = loss.detach() if total is None else total + loss.detach()
    if total is None:
        raise ValueError("a step needs at least one loss")
    accelerator.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
    optimizer.step()
    return total


class _BestState:
    """Holds the weights of the best validation check, and says when patience is spent."""

    def __init__(self, model: nn.Module, checks: Checks | None, log: TrainingLog) -> None:
        self._model, self._checks, self._log = model, checks, log
        self._result = FitResult()
        self._weights: dict[str, Tensor] = {}
        self._checks_since_best = 0

    def out_of_patience(self, step: int, num_steps: int) -> bool:
        checks = self._checks
        if checks is None or (step % checks.every and step != num_steps):
            return False
        # One process decides for all: a rounding apart, and some would stop while others wait for them.
        (metrics,) = broadcast_object_list([dict(checks.evaluate(self._model))])
        self._model.train()
        self._log.write(step, {f"validation_{name}": value for name, value in metrics.items()})
        if not self._weights or metrics[checks.metric] > self._result.best_metrics[checks.metric]:
            self._result.best_metrics, self._result.best_step = metrics, step
            self._weights = {
                name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()
            }
            self._checks_since_best = 0
            return False
        self._checks_since_best += 1
        return self._checks_since_best >= checks.patience

    def restore_best(self, num_steps: int) -> FitResult:
        if self._weights:
            self._model.load_state_dict(self._weights)
        self._result.num_steps = num_steps
        return self._result

    def state(self) -> dict[str, Any]:
        tensors = {f"weights.{name}": tensor for name, tensor in self._weights.items()}
        return tensors | {"result": asdict(self._result), "checks_since_best": self._checks_since_best}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._result = FitResult(**state["result"])
        self._checks_since_best = state["checks_since_best"]
        weights = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
        self._weights = {name.removeprefix("weights."): tensor for name, tensor in weights.items()}


@torch.inference_mode()
def predict(logits_of: Callable[[Batch], Tensor], split: BatchSource, *, batch_size: int = 64) -> Tensor:
    """Logits (N, C) over `split`, in its own row order, batched by length."""
    batches = epoch_batches(split, batch_size, None)
    return in_row_order([logits_of(split.batch(rows)).float().cpu() for rows in batches], batches)


def model_logits(model: nn.Module, split: BatchSource) -> Tensor:
    """Logits (N, C) of a whole model (not a supernet) on `split`; leaves it in eval mode."""
    model.eval()
    device = next(model.parameters()).device

    def logits_of(batch: Batch) -> Tensor:
        logits: Tensor = model(
            **{name: tensor.to(device) for name, tensor in model_inputs(batch).items()}
        ).logits
        return logits

    return predict(logits_of, split)


def validation_metrics(
    model: nn.Module, split: TokenizedSplit, evaluate: Callable[[np.ndarray, np.ndarray], dict[str, float]]
) -> dict[str, float]:
    """Metrics of a whole model (not a supernet) on `split`; leaves it in eval mode."""
    return evaluate(model_logits(model, split).numpy(), np.asarray(split.labels))
