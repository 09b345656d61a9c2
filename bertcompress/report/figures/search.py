"""The figure of a search: every evaluated child, its score against each cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertcompress.report.budgets import budget_ends
from bertcompress.report.numbers import finite, number
from bertcompress.report.plot import BUDGET, INK, QUIET, ROLE_COLOURS


def search_figure(data: Mapping[str, Any]) -> Figure | None:
    """Draw a panel for each cost, with the budget's limits as lines."""
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
    """Return key, label and unit of each cost on an axis: latency, parameters, and further budgets."""
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
