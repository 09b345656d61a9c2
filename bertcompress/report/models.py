"""The models of a run as rows: one for every exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertcompress.report.numbers import finite


@dataclass(frozen=True)
class ModelRow:
    """One exported file of one model; `speedup` is over the teacher at the same precision."""

    role: str
    architecture: str
    num_parameters: int | None
    macs: int | None
    precision: str
    size_mib: float | None
    metric: float | None
    p50_ms: float | None
    speedup: float | None
    recommended: bool
    reason: str | None

    @property
    def advice(self) -> str:
        """Whether to serve this file, and why not."""
        return "recommended" if self.recommended else (self.reason or "not recommended")


def metric_name(data: Mapping[str, Any]) -> str:
    """Return the task's metric: accuracy unless the data names another."""
    return str((data.get("task") or {}).get("metric_name") or "accuracy")


def num_rows(data: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the number of rows of each split; records keep it at the top."""
    return (data.get("task") or {}).get("rows") or data.get("rows") or {}


def model_of(data: Mapping[str, Any], role: str) -> Mapping[str, Any] | None:
    """Return the model of a role: teacher, baseline or winner."""
    return next((model for model in data.get("models") or [] if model.get("role") == role), None)


def model_rows(data: Mapping[str, Any]) -> list[ModelRow]:
    """Return a row for every precision of every model, in the order of the data."""
    teacher_files = (model_of(data, "teacher") or {}).get("files") or {}
    return [
        _model_row(model, precision, file or {}, teacher_files.get(precision) or {}, metric_name(data))
        for model in data.get("models") or []
        for precision, file in (model.get("files") or {}).items()
    ]


def _model_row(
    model: Mapping[str, Any],
    precision: str,
    file: Mapping[str, Any],
    teacher_file: Mapping[str, Any],
    metric: str,
) -> ModelRow:
    p50_ms, teacher_ms = finite(file.get("p50_ms")), finite(teacher_file.get("p50_ms"))
    return ModelRow(
        role=str(model.get("role", "")),
        architecture=str(model.get("architecture", "")),
        num_parameters=model.get("num_parameters"),
        macs=model.get("macs"),
        precision=precision,
        size_mib=finite(file.get("size_mib")),
        metric=finite(file.get(f"test_{metric}", file.get("test_accuracy"))),
        p50_ms=p50_ms,
        speedup=teacher_ms / p50_ms if teacher_ms and p50_ms else None,
        recommended=bool(file.get("recommended")),
        reason=file.get("reason"),
    )
