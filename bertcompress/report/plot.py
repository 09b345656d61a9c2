"""A plot of the report, by matplotlib without pyplot: nothing global is touched, and no display is needed.

One figure serves a white PNG and an inline SVG whose ink is the page's own text colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

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
    """One plot, drawn when a form needs it; `name` is its file name and the prefix of its SVG ids.

    `draw` returns None where the data has nothing to show.
    """

    name: str
    caption: str
    draw: Callable[[], Figure | None]

    @cached_property
    def figure(self) -> Figure | None:
        """The drawn figure, or None where there is nothing to show."""
        with matplotlib.rc_context(STYLE):
            return self.draw()

    def svg(self) -> str:
        """Return the figure as an <svg> element for HTML, its ids prefixed so that several share a page."""
        assert self.figure is not None
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
        assert self.figure is not None
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(path, format="png", dpi=120, facecolor="white", metadata={"Software": None})
        return path


def write_pngs(plots: Sequence[Plot], folder: Path) -> dict[str, Path]:
    """Write every plot as a PNG into `folder`; return the files by the plots' names."""
    if plots:
        folder.mkdir(parents=True, exist_ok=True)
    return {plot.name: plot.png(folder / f"{plot.name}.png") for plot in plots}
