"""Which of a model's files should be served here, and why not the others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertcompress.export.calibration import Calibration
from bertcompress.export.optimize import Timer
from bertcompress.export.quantize import needs_reduced_range
from bertcompress.export.runtime import FILE_OF

# A file's value of the task's metric, where higher is better.
Metric = Callable[[Path], float]
# Words that are precisions elsewhere, and why there is no such file.
REFUSED = {
    "bf16": "ONNX Runtime has no bf16 kernels on the CPU, so that the file could not be verified; use fp16",
    "int4": "activations have no kernels of 4 bits; use int4_weights",
}


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
    """Why these cannot be written: none is named, a word is unknown, or int8_static has no rows."""
    problems = [f"precisions: {_unknown(name)}" for name in precisions if name not in FILE_OF]
    if not precisions:
        problems.append(f"precisions: none; use one or more of {', '.join(FILE_OF)}")
    if "int8_static" in precisions and (calibration is None or not calibration.num_rows):
        problems.append("int8_static: takes its scales from data, and was given none; give rows, or use int8")
    return problems


def _unknown(name: str) -> str:
    if name in REFUSED:
        return f"{name!r} is not written: {REFUSED[name]}"
    nearest = difflib.get_close_matches(name, FILE_OF, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{name!r} is unknown; {hint}use {', '.join(FILE_OF)}"


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
    """Why a precision should not be served here: not faster than fp32, or worse by more than is allowed."""
    reasons = ["fp16 on CPU: no kernels, every value is cast back and forth"] if _is_cast(name, trial) else []
    if entry is fp32:
        return reasons
    if entry["p50_ms"] is not None and entry["p50_ms"] >= fp32["p50_ms"]:
        times = f"{entry['p50_ms']:.2f} against {fp32['p50_ms']:.2f} ms"
        slow = ", without VNNI" if _lacks_instructions(name, trial) else ""
        reasons.append(f"not faster than fp32 here ({times}{slow})")
    if entry["metric"] is not None and fp32["metric"] - entry["metric"] > trial.max_metric_drop:
        drop = fp32["metric"] - entry["metric"]
        reasons.append(f"the metric is {drop:.4f} below fp32's; allowed is {trial.max_metric_drop:.4f}")
    return reasons


def _is_cast(name: str, trial: Trial) -> bool:
    return name == "fp16" and trial.provider == "cpu"


def _lacks_instructions(name: str, trial: Trial) -> bool:
    """Whether int8 is slow for want of the processor's instructions for it."""
    return name in ("int8", "int8_static") and trial.provider == "cpu" and needs_reduced_range()
