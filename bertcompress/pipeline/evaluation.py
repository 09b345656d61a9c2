"""A whole model of a run, judged on the run's splits: by the task's metric, and against its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import log_softmax

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.pipeline.run import Run
from bertcompress.training.loop import Checks, model_logits, validation_metrics


def metrics_of(run: Run, model: Any, splits: Mapping[str, TokenizedSplit]) -> dict[str, Any]:
    """Return the metrics of a model on the validation split (which chose it) and the test split (reported).

    Beside the task's metrics they hold what `fidelity` gives. `test_correct` is 1 or 0 for each test row,
    `per_class` the test split's results by class.
    """
    found: dict[str, Any] = {}
    for name in ("validation", "test"):
        logits, labels = model_logits(model, splits[name]).numpy(), splits[name].labels
        metrics = run.task.evaluate(logits, labels)
        found[name] = metrics | fidelity(logits, run.teacher_logits[name], metrics["loss"])
    # The last split is the test split.
    return found | {
        "test_correct": (logits.argmax(axis=1) == labels).astype(int).tolist(),
        "per_class": run.task.results_by_class(logits, labels),
    }


def fidelity(logits: np.ndarray, theirs: np.ndarray, loss: float) -> dict[str, float]:
    """Return how a student's logits (N, C) agree with its teacher's.

    `agreement` is the share of equal answers, `divergence` the mean KL divergence from the teacher in nats,
    and `fidelity` the negative mean of divergence and `loss`, the student's cross entropy with the labels:
    higher is better. It is smoother than accuracy on few rows, and a wrong teacher cannot decide alone.
    """
    ours, target = (log_softmax(each.astype(np.float64), axis=1) for each in (logits, theirs))
    divergence = float((np.exp(target) * (target - ours)).sum(axis=1).mean())
    agreement = float((logits.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    return {
        "agreement": agreement,
        "divergence": divergence,
        "fidelity": -(divergence + loss) / 2,
    }


def checks(run: Run, validation: TokenizedSplit, *, every: int, patience: int) -> Checks:
    """Checks of a whole model by the task's metric on the validation split in the model's tokens."""

    def evaluate(model: Any) -> Mapping[str, float]:
        return validation_metrics(model, validation, run.task.evaluate)

    return Checks(evaluate, every, run.task.metric_name, patience)


def fidelity_checks(run: Run, *, every: int) -> Checks:
    """Checks of a student by its fidelity on the validation split; the best state is kept, none ends it."""
    split, theirs = run.student_splits["validation"], run.teacher_logits["validation"]

    def evaluate(model: Any) -> Mapping[str, float]:
        logits = model_logits(model, split).numpy()
        metrics = run.task.evaluate(logits, split.labels)
        return metrics | fidelity(logits, theirs, metrics["loss"])

    return Checks(evaluate, every, "fidelity", patience=10**9)
