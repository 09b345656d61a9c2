"""The curve of a training as it is made: lines of JSON, TensorBoard events and a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bertcompress.files import write_atomically

CURVE_NAME = "training.jsonl"
EVENTS_NAME = "tensorboard"


class TrainingLog:
    """Curve of one training: a JSON line every few steps, TensorBoard events, and a progress bar.

    `fit` begins it; nothing is opened or shown before.
    """

    def __init__(self, folder: Path, name: str, console: Console | None) -> None:
        self.folder, self._name, self._console = folder, name, console
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._writer.close()
            self._file.close()

    def begin(self, step: int, *, writes: bool = True) -> None:
        """Start a curve, or go on with the one in the folder, cut after `step`.

        Of several processes one `writes`; for the others nothing is opened, and what they give is dropped.
        """
        self._first_step, self._start = step, time.perf_counter()
        if not writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        kept = [json.dumps(point) + "\n" for point in read_curve(self.folder) if point["step"] <= step]
        write_atomically(self.folder / CURVE_NAME, "".join(kept if step else []).encode())
        self._file = (self.folder / CURVE_NAME).open("a", encoding="utf-8")
        self._writer: Any = SummaryWriter(str(self.folder / EVENTS_NAME), purge_step=step + 1)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        extra = (TextColumn("loss {task.fields[loss]:.3f}"), TextColumn("{task.fields[rate]:.1f} steps/s"))
        self._progress = Progress(*columns, *extra, TimeRemainingColumn(), console=self._console)
        self._progress.disable = self._console is None
        self._progress.start()

    def advance(self, step: int, num_steps: int, loss: float) -> None:
        """Show `step` (1-based) and write its line."""
        if self._progress is None:
            return
        rate = (step - self._first_step) / (time.perf_counter() - self._start)
        if self._task is None:
            self._task = self._progress.add_task(self._name, total=num_steps, loss=loss, rate=rate)
        self._progress.update(self._task, completed=step, loss=loss, rate=rate)
        self.write(step, {"loss": loss, "steps_per_s": rate})

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the curve: `values` at `step`."""
        if self._progress is None:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._writer.add_scalar(f"{self._name}/{name}", value, step)


def read_curve(folder: Path) -> list[dict[str, float]]:
    """The lines that a TrainingLog wrote in `folder`; empty when nothing was trained there."""
    path = folder / CURVE_NAME
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
