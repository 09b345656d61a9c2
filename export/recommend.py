"""Which of a model's files should be served here, and why not the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertcompress.export.calibration import Calibration
from bertcompress.export.optimize import Timer
from bertcompress.export.precisions import PRECISIONS, unknown_precision
from bertcompress.export.write import rows_missing

# The least share of rows that a file answers as PyTorch does, where nobody gave a metric.
LEAST_AGREEMENT = 0.99
# A file's value of the task's metric, where higher is better.
Metric = Callable[[Path], float]


@dataclass(frozen=True)
class Trial:
    """How files are judged: timed, asked for the task's metric, and held against fp32.

    `max_metric_drop` is what a file may lose and still be recommended; `provider` is the one it is timed on.
    """

    timer: Timer | None = None
    metric: Metric | None = None
    max_metric_drop: float = 0.01
    provider: str = "cpu"


def precision_problems(precisions: Sequence[str], calibration: Calibration | None) -> list[str]:
    """Return why these cannot be written: none is named, one is unknown, or one lacks the rows it needs."""
    problems = [f"precisions: {unknown_precision(word)}" for word in precisions if word not in PRECISIONS]
    if not precisions:
        problems.append(f"precisions: none; use one or more of {', '.join(PRECISIONS)}")
    if calibration is None or not calibration.num_rows or calibration.drawn:
        known = [PRECISIONS[word] for word in precisions if word in PRECISIONS]
        problems += [rows_missing(precision.word) for precision in known if precision.needs_rows]
    return problems


def recommend(files: dict[str, dict[str, Any]], out_dir: Path, trial: Trial) -> None:
    """Add latency, metric, `recommended` and `reason` to every entry; fp32 is what all are held against."""
    paths = {name: out_dir / entry["file"] for name, entry in files.items()}
    latencies_ms = {} if trial.timer is None else trial.timer(paths)
    for name, entry in files.items():
        entry["p50_ms"] = latencies_ms.get(name)
        entry["metric"] = None if trial.metric is None else trial.metric(paths[name])
    for name, entry in files.items():
        reasons = _drawbacks(name, entry, files.get("fp32", entry), trial)
        entry["recommended"] = not reasons
        entry["reason"] = "; ".join(reasons) or None


def _drawbacks(name: str, entry: Mapping[str, Any], fp32: Mapping[str, Any], trial: Trial) -> list[str]:
    """Return why a precision should not be served here: not faster than fp32, or worse than is allowed."""
    precision = PRECISIONS[name]
    obstacle = precision.obstacle(trial.provider)
    reasons = [] if obstacle is None else [obstacle]
    if entry is fp32:
        return reasons
    if entry["p50_ms"] is not None and entry["p50_ms"] >= fp32["p50_ms"]:
        times = f"{entry['p50_ms']:.2f} against {fp32['p50_ms']:.2f} ms"
        lacking = precision.slow_for_want_of(trial.provider)
        slow = "" if lacking is None else f", without {lacking}"
        reasons.append(f"not faster than fp32 here ({times}{slow})")
    if entry["metric"] is not None and fp32["metric"] - entry["metric"] > trial.max_metric_drop:
        drop = fp32["metric"] - entry["metric"]
        reasons.append(f"the metric is {drop:.4f} below fp32's; allowed is {trial.max_metric_drop:.4f}")
    if entry["metric"] is None and entry["agreement"] < LEAST_AGREEMENT:
        reasons.append(_disagreement(entry))
    return reasons


def _disagreement(entry: Mapping[str, Any]) -> str:
    """Say how many rows are answered otherwise, and what to do about it."""
    return (
        f"answers {entry['agreement']:.1%} of {entry['num_rows']} rows as before; at least "
        f"{LEAST_AGREEMENT:.0%} is asked for: calibrate it on rows of your own data "
        "(export-model --rows FILE), or serve fp32"
    )
