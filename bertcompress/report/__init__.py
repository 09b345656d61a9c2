"""The report of a run: a terminal table, JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertcompress.report.evolution import print_evolution
from bertcompress.report.html import write_html
from bertcompress.report.json import write_json
from bertcompress.report.markdown import write_markdown
from bertcompress.report.plots import draw_plots, write_pngs
from bertcompress.report.supernet_plots import draw_supernet_plots
from bertcompress.report.supernet_rows import print_interference, print_ranking
from bertcompress.report.terminal import print_table

__all__ = ["build_report", "print_evolution", "print_interference", "print_ranking", "print_table"]


def build_report(data: Mapping[str, Any], out_dir: Path) -> Path:
    """Write report.json, report.md with plots/*.png, and report.html into `out_dir`; the path of report.html.

    Only "name" must be in `data`; a section that is missing or empty is left out of the page.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(data) + draw_supernet_plots(data)
    write_json(data, out_dir / "report.json")
    write_markdown(data, out_dir / "report.md", plots=write_pngs(plots, out_dir / "plots"))
    return write_html(data, out_dir / "report.html", plots=plots)
