"""The trainings: loss and validation metric by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.figures.training import training_figure
from bertcompress.report.plot import Plot
from bertcompress.report.section import Section

CAPTION = "Training loss and validation metric by step; the thick line is a running mean"


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Training"."""
    if not data.get("training"):
        return None
    return Section("Training", (Plot("training", CAPTION, lambda: training_figure(data)),))
