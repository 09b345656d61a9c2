"""The one training loop: teacher, supernet, student and baseline all run through `fit`.

It knows batches, a loss, an optimizer and a schedule; what is trained, and how the loss comes about, is the
caller's. Runs on accelerate, so `accelerate launch` gives mixed precision and several processes; every
process draws the same random numbers and takes its own share of each batch."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from bertcompress.data.batches import epoch_batches
from bertcompress.data.tokenized import TokenizedSplit

Batch = dict[str, Tensor]
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
LOG_EVERY = 20


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a batch that a model takes: ids, mask and token types, (B, T) each."""
    return {name: batch[name] for name in INPUT_NAMES}


@dataclass(frozen=True)
class FitSettings:
    """Length and optimizer of one training: AdamW, linear warm-up, then linear decay to zero."""

    num_steps: int
    batch_size: int
    learning_rate: float
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


@dataclass(frozen=True)
class Checks:
    """What is measured on the validation split while training: the best state is kept, and patience ends it.

    `evaluate` returns the validation metrics; `metric` is the one that decides, higher is better.
    """

    evaluate: Callable[[nn.Module], Mapping[str, float]]
    every: int
    metric: str
    patience: int


@dataclass
class FitResult:
    """What a training came to: steps taken, the curve, the best validation metrics (empty without checks)."""

    num_steps: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    best_step: int = 0


class TrainingLog:
    """Curve of one training: a JSON line every few steps, TensorBoard events, and a progress bar."""

    def __init__(self, folder: Path, name: str, console: Console | None) -> None:
        self._folder, self._name, self._console = folder, name, console
        self._start = time.perf_counter()

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = (self._folder / "training.jsonl").open("w", encoding="utf-8")
        self._writer = SummaryWriter(str(self._folder / "tensorboard"))
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        extra = (TextColumn("loss {task.fields[loss]:.3f}"), TextColumn("{task.fields[rate]:.1f} steps/s"))
        self._progress = Progress(*columns, *extra, TimeRemainingColumn(), console=self._console)
        self._progress.disable = self._console is None
        self._progress.start()
        self._task: TaskID | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._writer.close()
        self._file.close()

    def advance(self, step: int, num_steps: int, loss: float) -> None:
        """Show `step` (1-based) and, every few steps, write its line."""
        rate = step / (time.perf_counter() - self._start)
        if self._task is None:
            self._task = self._progress.add_task(self._name, total=num_steps, loss=loss, rate=rate)
        self._progress.update(self._task, completed=step, loss=loss, rate=rate)
        self.write(step, {"loss": loss, "steps_per_s": rate})

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the curve: `values` at `step`."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._writer.add_scalar(f"{self._name}/{name}", value, step)


def read_curve(folder: Path) -> list[dict[str, float]]:
    """The lines that a TrainingLog wrote in `folder`; empty when nothing was trained there."""
    path = folder / "training.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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


def endless_batches(split: TokenizedSplit, batch_size: int, rng: random.Random) -> Iterator[list[int]]:
    """Length-bucketed index lists, epoch after epoch, shuffled anew each time."""
    while True:
        yield from epoch_batches(split, batch_size, rng)


def num_epoch_steps(split: TokenizedSplit, batch_size: int) -> int:
    """Steps in one pass over `split`."""
    return max(1, -(-len(split) // batch_size))


def fit(
    model: nn.Module,
    split: TokenizedSplit,
    loss_of: Callable[[nn.Module, Batch, int], Tensor],
    settings: FitSettings,
    *,
    rng: random.Random,
    log: TrainingLog,
    parameter_groups: Sequence[dict[str, Any]] | None = None,
    checks: Checks | None = None,
    after_step: Callable[[int], None] | None = None,
) -> FitResult:
    """Train `model` in place on `split`; `loss_of(model, batch, step)` gives the scalar loss.

    A parameter group may hold `factor`, its share of the learning rate. With `checks`, the model ends with
    its best validation state and may stop early; `after_step(step)` runs after every update (0-based).
    """
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    groups = list(parameter_groups or [{"params": [p for p in model.parameters() if p.requires_grad]}])
    optimizer: Any = torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    keeper = _BestState(model, checks, log)
    batches = endless_batches(split, settings.batch_size, rng)
    wrapped.train()
    step = -1
    for step in range(settings.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * group.get("factor", 1.0) * linear_schedule(step, settings)
        share = next(batches)[accelerator.process_index :: accelerator.num_processes] or [0]
        batch = {name: tensor.to(accelerator.device) for name, tensor in split.batch(share).items()}
        loss = loss_of(wrapped, batch, step)
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
        optimizer.step()
        if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.num_steps:
            log.advance(step + 1, settings.num_steps, loss.item())
        if after_step is not None:
            after_step(step)
        if keeper.out_of_patience(step + 1, settings.num_steps):
            break
    return keeper.restore(step + 1)


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
        metrics = dict(checks.evaluate(self._model))
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

    def restore(self, num_steps: int) -> FitResult:
        if self._weights:
            self._model.load_state_dict(self._weights)
        self._result.num_steps = num_steps
        return self._result


@torch.inference_mode()
def predict(logits_of: Callable[[Batch], Tensor], split: TokenizedSplit, *, batch_size: int = 64) -> Tensor:
    """Logits (N, C) over `split`, in its own row order, batched by length."""
    rows: list[tuple[list[int], Tensor]] = []
    for indices in epoch_batches(split, batch_size, None):
        rows.append((indices, logits_of(split.batch(indices)).float().cpu()))
    order = torch.tensor([index for indices, _ in rows for index in indices])
    logits = torch.cat([batch for _, batch in rows])
    return logits[torch.argsort(order)]


def validation_metrics(
    model: nn.Module, split: TokenizedSplit, evaluate: Callable[[np.ndarray, np.ndarray], dict[str, float]]
) -> dict[str, float]:
    """Metrics of a whole model (not a supernet) on `split`; leaves it in eval mode."""
    model.eval()
    device = next(model.parameters()).device

    def logits_of(batch: Batch) -> Tensor:
        logits: Tensor = model(
            **{name: tensor.to(device) for name, tensor in model_inputs(batch).items()}
        ).logits
        return logits

    return evaluate(predict(logits_of, split).numpy(), np.asarray(split.labels))
