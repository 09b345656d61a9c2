"""The figures of what is known about a supernet: its interference and its ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertcompress.report.numbers import finite
from bertcompress.report.plot import INK, QUIET, ROLE_COLOURS

BEFORE, AFTER = QUIET, ROLE_COLOURS["supernet"]
KIND_COLOURS = ("#3f88c5", "#e09f3e", "#2a9d6f", "#d1495b", "#8d6cc9", "#5f7a3a", "#b0758f")
SIGNAL_WORDS = {"input": "input", "output_gradient": "output gradient", "both": "both"}
BAR_LIMIT = 12


def interference_figure(interference: Mapping[str, Any]) -> Figure | None:
    """Draw the cosine by differing positions, operator kind, similarity, and under the interventions."""
    after = interference.get("after") or {}
    if not after.get("by_distance"):
        return None
    figure = Figure(figsize=(10, 7), layout="constrained")
    (distance, kinds), (similarities, mixing) = figure.subplots(2, 2)
    for when, colour in (("before", BEFORE), ("after", AFTER)):
        draw_distances(distance, interference.get(when) or {}, colour=colour, label=f"{when} training")
    distance.legend()
    _draw_kinds(kinds, after.get("kinds") or {})
    _draw_similarities(similarities, after.get("similarities") or {})
    _draw_mixing(mixing, after.get("mixing") or {})
    return figure


def draw_distances(axis: Axes, measured: Mapping[str, Any], *, colour: str, label: str) -> None:
    """Draw the mean cosine against the number of differing positions; dashed across batches."""
    rows = measured.get("by_distance") or []
    if not rows:
        return
    distances = [row["distance"] for row in rows]
    means = [row["cosine"]["value"] for row in rows]
    axis.fill_between(
        distances,
        [row["cosine"]["low"] for row in rows],
        [row["cosine"]["high"] for row in rows],
        color=colour,
        alpha=0.18,
        linewidth=0,
    )
    axis.plot(distances, means, color=colour, marker="o", markersize=4, label=label)
    axis.plot(
        distances,
        [row["cosine_other_batch"] for row in rows],
        color=colour,
        linestyle="--",
        linewidth=1,
        label=f"{label}, another batch",
    )
    axis.set_xticks(distances)
    axis.set_xlabel("positions in which the children differ")
    axis.set_ylabel("gradient cosine")


def _draw_kinds(axis: Axes, kinds: Mapping[str, Any]) -> None:
    for (kind, found), colour in zip(kinds.items(), _cycled(KIND_COLOURS, len(kinds)), strict=True):
        points = [(row["distance"], row["cosine"]) for row in found["by_distance"]]
        axis.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, label=kind)
    distances = {row["distance"] for found in kinds.values() for row in found["by_distance"]}
    axis.set_xticks(sorted(distances))
    axis.set_xlabel("positions in which the children differ")
    axis.set_ylabel("gradient cosine, after training")
    axis.legend(title="shared operator")


def _cycled(colours: Sequence[str], count: int) -> list[str]:
    return [colours[index % len(colours)] for index in range(count)]


def _draw_similarities(axis: Axes, similarities: Mapping[str, Any]) -> None:
    looks = {
        "spearman": (QUIET, "alone"),
        "partial": (AFTER, "given the number of differing positions"),
        "given_others": (INK, "given the other two, too"),
    }
    for offset, (key, (colour, label)) in zip((-0.25, 0.0, 0.25), looks.items(), strict=True):
        places = [place + offset for place in range(len(similarities))]
        found = [similarity[key] for similarity in similarities.values()]
        draw_intervals(axis, places, found, colour=colour, label=label)
    axis.axvline(0, color=INK, linewidth=0.8)
    names = [f"{SIGNAL_WORDS.get(name, name)}\nsimilarity" for name in similarities]
    axis.set_yticks(range(len(similarities)), names)
    axis.set_ylim(len(similarities) - 0.5, -1.4)  # from the top down, below the legend
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("Spearman correlation with the gradient cosine")
    axis.legend(loc="upper left")


def draw_intervals(
    axis: Axes,
    places: Sequence[float],
    estimates: Sequence[Mapping[str, Any]],
    *,
    colour: str,
    label: str | None = None,
) -> None:
    """Draw estimates as points on horizontal lines from low to high."""
    values = [estimate["value"] for estimate in estimates]
    errors = [
        # A statistic may lie outside its own percentile interval by a hair.
        [max(0.0, estimate["value"] - estimate["low"]) for estimate in estimates],
        [max(0.0, estimate["high"] - estimate["value"]) for estimate in estimates],
    ]
    axis.errorbar(
        values, places, xerr=errors, fmt="o", color=colour, markersize=4.5, linewidth=1.4, label=label
    )


def _draw_mixing(axis: Axes, mixing: Mapping[str, Any]) -> None:
    colours = {"input": "#3f88c5", "output_gradient": "#d1495b", "both": QUIET}
    mixes = mixing.get("mixes") or []
    for signal, colour in colours.items():
        found = mixing.get(signal)
        if not found:
            continue
        points = found["cosines"]
        lows, highs = [point["low"] for point in points], [point["high"] for point in points]
        axis.fill_between(mixes, lows, highs, color=colour, alpha=0.15, linewidth=0)
        values = [point["value"] for point in points]
        axis.plot(mixes, values, color=colour, marker="o", markersize=4, label=SIGNAL_WORDS[signal])
    axis.set_xlabel("share of the other child's signal")
    axis.set_ylabel("gradient cosine")
    if mixes and axis.lines:
        axis.legend(title="signal taken over")


def ranking_figure(ranking: Mapping[str, Any]) -> Figure | None:
    """Draw supernet scores against truth, a point a child, and the Kendall taus beside the baselines'."""
    if not ranking.get("children"):
        return None
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    scatter, bars = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _scatter_truth(scatter, ranking["children"])
    _draw_taus(bars, ranking)
    return figure


def _scatter_truth(axis: Axes, children: Sequence[Mapping[str, Any]]) -> None:
    known = [child for child in children if finite(child.get("score")) is not None]
    means = [sum(child["truth"]) / len(child["truth"]) for child in known]
    errors = [
        [mean - min(child["truth"]) for mean, child in zip(means, known, strict=True)],
        [max(child["truth"]) - mean for mean, child in zip(means, known, strict=True)],
    ]
    axis.errorbar(
        [child["score"] for child in known],
        means,
        yerr=errors,
        fmt="o",
        color=AFTER,
        ecolor=QUIET,
        markersize=5,
        linewidth=0.8,
    )
    axis.set_xlabel("loss in the supernet")
    axis.set_ylabel("loss trained alone (all seeds)")


def _draw_taus(axis: Axes, ranking: Mapping[str, Any]) -> None:
    rows = [("supernet", ranking["supernet"]["kendall"], AFTER)]
    rows += [(row["name"], row["kendall"], QUIET) for row in ranking["baselines"][:BAR_LIMIT]]
    for place, (_, estimate, colour) in enumerate(rows):
        axis.barh(place, estimate["value"], height=0.6, color=colour, alpha=0.35)
        draw_intervals(axis, [place], [estimate], colour=colour)
    if ranking.get("ceiling"):
        ceiling = ranking["ceiling"]
        axis.axvspan(ceiling["low"], ceiling["high"], color=ROLE_COLOURS["winner"], alpha=0.1, linewidth=0)
        axis.axvline(
            ceiling["value"],
            color=ROLE_COLOURS["winner"],
            linestyle="--",
            linewidth=1.2,
            label="seed to seed",
        )
        axis.legend(loc="lower right")
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("Kendall's tau against stand-alone training")
