"""The report's figures, by matplotlib without pyplot: nothing global is touched, no display is needed.

The same figure serves a white PNG and an inline SVG whose ink is the page's own text colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertcompress.report.rows import budget_ends, budget_limit, finite, metric_name, model_rows, number

# One colour that nothing else uses, so that it can become currentColor in the SVG.
INK = "#2b3038"
QUIET = "#8b93a1"
BUDGET = "#d1495b"
ROLE_COLOURS = {"teacher": "#3f88c5", "supernet": "#8d6cc9", "winner": "#2a9d6f", "baseline": "#e09f3e"}
STYLE: dict[Any, Any] = {  # matplotlib types the keys as one long Literal
    "font.size": 10.0,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": QUIET,
    "grid.alpha": 0.22,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,  # a dollar sign in a user's text is a dollar sign
}


@dataclass(frozen=True)
class Plot:
    """One drawn figure; `name` is its file name and the prefix of its SVG ids, `caption` what it shows."""

    name: str
    caption: str
    figure: Figure

    def svg(self) -> str:
        """The figure as an <svg> element for HTML, its ids prefixed so that several share a page."""
        buffer = io.StringIO()
        with matplotlib.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": self.name}):
            metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
        text = buffer.getvalue()
        text = text[text.index("<svg") :].replace(INK, "currentColor")
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{self.name}-", text)
        return re.sub(
            r' width="[^"]*pt" height="[^"]*pt"| height="[^"]*pt"| width="[^"]*pt"', "", text, count=2
        )

    def png(self, path: Path) -> Path:
        """Write the figure on white."""
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(path, format="png", dpi=120, facecolor="white", metadata={"Software": None})
        return path


def draw_plots(data: Mapping[str, Any]) -> list[Plot]:
    """The figures that the data has points for: search, latency, training."""
    drawers: dict[str, tuple[str, Callable[[Mapping[str, Any]], Figure | None]]] = {
        "search": ("Every child that the search evaluated, against its latency and its size", _search_figure),
        "latency": ("Median latency of the exported files", _latency_figure),
        "training": ("Training loss and validation metric, by step", _training_figure),
    }
    with matplotlib.rc_context(STYLE):
        drawn = [(name, caption, draw(data)) for name, (caption, draw) in drawers.items()]
    return [Plot(name, caption, figure) for name, caption, figure in drawn if figure is not None]


def write_pngs(plots: Sequence[Plot], folder: Path) -> dict[str, Path]:
    """Write every figure as a PNG into `folder`; the files by caption."""
    if plots:
        folder.mkdir(parents=True, exist_ok=True)
    return {plot.caption: plot.png(folder / f"{plot.name}.png") for plot in plots}


def _search_figure(data: Mapping[str, Any]) -> Figure | None:
    search = data.get("search") or {}
    children = [child for child in search.get("evaluated") or [] if finite(child.get("score")) is not None]
    panels = [
        (key, label, scale, [end / scale for end in budget_ends(data, key)])
        for key, label, scale in _search_axes(data)
        if any(finite(child.get(key)) is not None for child in children)
    ]
    if not panels:
        return None
    figure = Figure(figsize=(max(10.0, 3.6 * len(panels)), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (key, label, scale, limits) in zip(axes, panels, strict=True):
        known = [child for child in children if finite(child.get(key)) is not None]
        _scatter_children(axis, known, search, key=key, scale=scale)
        for limit in limits:
            axis.axvline(limit, color=BUDGET, linestyle="--", linewidth=1.4, label=f"budget {number(limit)}")
        axis.set_xlabel(label)
        axis.legend(loc="upper right")
    axes[0].set_ylabel("score in the supernet")
    return figure


def _search_axes(data: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Key, label and unit of the costs that the search is drawn against: budgets beside latency and size."""
    axes = [("latency_ms", "predicted latency (ms)", 1.0), ("num_parameters", "parameters (millions)", 1e6)]
    further = [str(budget.get("name", "")) for budget in data.get("budgets") or []]
    for name in (name for name in further if name not in ("latency_ms", "num_parameters")):
        cost, _, conditions = name.partition("@")
        label = {"macs": "MACs (millions)", "size_mib": "predicted size (MiB)"}.get(
            cost, f"predicted latency (ms), {conditions}"
        )
        axes.append((name, label, 1e6 if cost == "macs" else 1.0))
    return axes


def _scatter_children(
    axis: Axes, children: Sequence[Mapping[str, Any]], search: Mapping[str, Any], *, key: str, scale: float
) -> None:
    finalists = {finalist.get("architecture") for finalist in search.get("finalists") or []}
    groups = {
        "over a budget": [child for child in children if not child.get("fits")],
        "fits": [child for child in children if child.get("fits")],
        "Pareto front": [child for child in children if child.get("on_front")],
        "finalist": [child for child in children if child.get("architecture") in finalists],
        "winner": [child for child in children if child.get("architecture") == search.get("winner")],
    }
    blue, green = ROLE_COLOURS["teacher"], ROLE_COLOURS["winner"]
    looks: dict[str, dict[str, Any]] = {
        "over a budget": {"marker": "x", "s": 22, "color": QUIET, "alpha": 0.7, "linewidths": 1.0},
        "fits": {"marker": "o", "s": 22, "color": blue, "alpha": 0.6, "linewidths": 0},
        "Pareto front": {"marker": "o", "s": 34, "color": "#8d6cc9", "linewidths": 0, "zorder": 3},
        "finalist": {"marker": "o", "s": 110, "facecolors": "none", "edgecolors": INK, "linewidths": 1.2},
        "winner": {"marker": "*", "s": 230, "color": green, "linewidths": 0, "zorder": 5},
    }
    for name, members in groups.items():
        if members:
            points = sorted((float(child[key]) / scale, float(child["score"])) for child in members)
            axis.scatter(*zip(*points, strict=True), label=name, **looks[name])
            # The front is one of latency and score: in the other panel it is a set of points, not a line.
            if name == "Pareto front" and key == "latency_ms":
                axis.step(*zip(*points, strict=True), where="post", color="#8d6cc9", linewidth=1, alpha=0.7)


def _latency_figure(data: Mapping[str, Any]) -> Figure | None:
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


def _training_figure(data: Mapping[str, Any]) -> Figure | None:
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
    """A running mean over a twelfth of the curve, so that the trend shows through the steps' noise."""
    reach = max(1, len(points) // 24)
    windows = [points[max(0, index - reach) : index + reach + 1] for index in range(len(points))]
    return [
        (step, sum(value for _, value in window) / len(window))
        for (step, _), window in zip(points, windows, strict=True)
    ]
