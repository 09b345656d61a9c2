"""The figure of the trainings: loss and validation metric by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertcompress.report.models import metric_name
from bertcompress.report.numbers import finite
from bertcompress.report.plot import QUIET, ROLE_COLOURS


def training_figure(data: Mapping[str, Any]) -> Figure | None:
    """Draw a column for each training, a running mean over its loss."""
    logs = {role: log for role, log in (data.get("training") or {}).items() if log}
    curves = {
        role: (_points(log, "loss"), _validation_points(log, metric_name(data))) for role, log in logs.items()
    }
    curves = {role: pair for role, pair in curves.items() if any(pair)}
    if not curves:
        return None
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(2, len(curves), sharex="col", squeeze=False)
    for (top, bottom), (role, (loss, validation)) in zip(axes.T, curves.items(), strict=True):
        colour = ROLE_COLOURS.get(role, QUIET)
        top.set_title(role)
        _plot(top, loss, color=colour, alpha=0.35, linewidth=1)
        _plot(top, _smooth(loss), color=colour, linewidth=1.8)
        _plot(bottom, validation, color=colour, marker="o", markersize=4, linewidth=1.2)
        if not validation:
            bottom.text(0.5, 0.5, "not validated", transform=bottom.transAxes, ha="center", color=QUIET)
        bottom.set_xlabel("step")
    axes[0][0].set_ylabel("loss")
    axes[1][0].set_ylabel(f"validation {metric_name(data)}")
    figure.align_ylabels()
    return figure


def _plot(axis: Axes, points: Sequence[tuple[float, float]], **look: Any) -> None:
    if points:
        axis.plot(*zip(*points, strict=True), **look)


def _points(log: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    known = [(finite(record.get("step")), finite(record.get(key))) for record in log]
    return [(step, value) for step, value in known if step is not None and value is not None]


def _validation_points(log: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[float, float]]:
    return _points(log, f"validation_{metric}") or _points(log, "validation_accuracy")


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a running mean over a twelfth of the curve, so that the trend shows through the noise."""
    reach = max(1, len(points) // 24)
    windows = [points[max(0, index - reach) : index + reach + 1] for index in range(len(points))]
    return [
        (step, sum(value for _, value in window) / len(window))
        for (step, _), window in zip(points, windows, strict=True)
    ]
