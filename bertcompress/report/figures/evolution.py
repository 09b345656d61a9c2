"""The figure of a space's evolution: a panel a position, a line an operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertcompress.report.plot import QUIET
from bertcompress.space import KINDS, Operator

NUM_COLUMNS = 4
LOST = ("unfit", "unaffordable")


def evolution_figure(evolution: Mapping[str, Any]) -> Figure | None:
    """Draw the fitness of every operator by generation, its last point a cross where it was dropped."""
    generations = evolution.get("generations") or []
    if not generations:
        return None
    num_positions = len(generations[0]["positions"])
    columns = min(NUM_COLUMNS, num_positions)
    rows = -(-num_positions // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.5 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for position, panel in enumerate(panels):
        if position < num_positions:
            _draw_position(panel, [generation["positions"][position] for generation in generations])
            panel.set_title(f"position {position + 1}")
        else:
            panel.set_axis_off()
    for panel in panels[::columns]:
        panel.set_ylabel("fitness")
    for panel in panels[num_positions - columns : num_positions]:
        panel.set_xlabel("generation")
    return figure


def _draw_position(axis: Axes, generations: Sequence[Mapping[str, Any]]) -> None:
    lines: dict[str, list[tuple[int, float, str]]] = {}
    for number, position in enumerate(generations, start=1):
        for candidate in position["candidates"]:
            point = (number, candidate["fitness"], candidate["fate"])
            lines.setdefault(candidate["operator"], []).append(point)
    for name, points in lines.items():
        colour = KINDS[Operator.parse(name).kind].colour
        numbers, fitness, fates = zip(*points, strict=True)
        axis.plot(numbers, fitness, color=colour, marker="o", markersize=3, linewidth=1)
        if fates[-1] in LOST:
            axis.plot(numbers[-1], fitness[-1], color=colour, marker="x", markersize=7)
        axis.annotate(
            name,
            (numbers[-1], fitness[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=colour,
        )
    axis.axhline(1, color=QUIET, linewidth=0.6, linestyle="--")
    axis.set_xticks(range(1, len(generations) + 1))
    axis.margins(x=0.25)
