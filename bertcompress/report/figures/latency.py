"""The figure of the exported files' latencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from bertcompress.report.budgets import budget_limit
from bertcompress.report.models import model_rows
from bertcompress.report.numbers import number
from bertcompress.report.plot import BUDGET, QUIET, ROLE_COLOURS


def latency_figure(data: Mapping[str, Any]) -> Figure | None:
    """Draw a bar for each exported file, and the budget's limit as a line."""
    rows = [row for row in model_rows(data) if row.p50_ms is not None]
    if not rows:
        return None
    figure = Figure(figsize=(10, 0.8 + 0.42 * len(rows)), layout="constrained")
    axis = figure.subplots()
    labels = [f"{row.role}, {row.precision}" for row in rows]
    values = [row.p50_ms or 0.0 for row in rows]
    bars = axis.barh(range(len(rows)), values, height=0.66)
    for bar, row in zip(bars, rows, strict=True):
        bar.set_color(ROLE_COLOURS.get(row.role, QUIET))
        bar.set_alpha(1.0 if row.precision == "fp32" else 0.6)
    limit = budget_limit(data, "latency_ms")
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        words = f"{number(value)} ms" + (f"  ({row.speedup:.1f}×)" if row.speedup else "")
        # Past the budget's line where the bar ends before it, so that the line does not cross the words.
        start = value if limit is None or limit > max(values) else max(value, limit)
        axis.annotate(words, (start, place), xytext=(6, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(rows)), labels)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlim(0, max(values) * 1.18)
    axis.set_xlabel("p50 latency (ms)")
    if limit is not None:
        axis.axvline(limit, color=BUDGET, linestyle="--", linewidth=1.4, label=f"budget {number(limit)} ms")
        axis.legend(loc="lower right")
    return figure
