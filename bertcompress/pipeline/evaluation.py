"""A whole model of a run, judged by the task's metric on the run's splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.pipeline.run import Run
from bertcompress.training.loop import Checks, validation_metrics


def metrics_of(run: Run, model: Any, splits: Mapping[str, TokenizedSplit]) -> dict[str, dict[str, float]]:
    """Metrics of a model on the validation split (which chose it) and the test split (which is reported)."""
    return {
        name: validation_metrics(model, splits[name], run.task.evaluate) for name in ("validation", "test")
    }


def checks(run: Run, validation: TokenizedSplit, *, every: int, patience: int) -> Checks:
    """Checks of a whole model by the task's metric on the validation split in the model's tokens."""

    def evaluate(model: Any) -> Mapping[str, float]:
        return validation_metrics(model, validation, run.task.evaluate)

    return Checks(evaluate, every, run.task.metric_name, patience)
