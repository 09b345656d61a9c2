"""The report of a run: a terminal summary, JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from bertcompress.report.html import write_html
from bertcompress.report.json import write_json
from bertcompress.report.markdown import write_markdown
from bertcompress.report.plot import write_pngs
from bertcompress.report.section import drawn_plots
from bertcompress.report.sections import build_sections, describe
from bertcompress.report.terminal import print_report, print_sections

__all__ = ["build_report", "draw_findings", "print_findings", "print_summary"]


def build_report(data: Mapping[str, Any], out_dir: Path) -> Path:
    """Write report.json, report.md with plots/*.png, and report.html into `out_dir`; return the HTML's path.

    Only "name" must be in `data`; a section that has nothing in it is left out. Beside what the stages find,
    `data` may have

    - "warnings": sentences, which come first;
    - "alternatives": rows as `contenders.Contender.of` reads them, the shipped model among them;
    - "test_correct" in a model or an alternative: 1 for each test row on which it is right, else 0;
    - "per_class": by role, as `sections/per_class.py` says;
    - "data": {"report": ...}, the report of the data stage.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    report = describe(data)
    plots = write_pngs(drawn_plots(report.sections), out_dir / "plots")
    write_json(data, out_dir / "report.json")
    write_markdown(report, out_dir / "report.md", plots=plots)
    return write_html(report, out_dir / "report.html")


def print_summary(data: Mapping[str, Any], console: Console) -> None:
    """Print what a run ends with: warnings, verdict, budgets, models."""
    print_report(describe(data), console)


def print_findings(findings: Mapping[str, Any], console: Console) -> None:
    """Print every section that the findings have something for, such as {"ranking": ...}."""
    print_sections(build_sections(findings), console)


def draw_findings(findings: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a PNG into `folder` for every plot that the findings have points for; return their paths."""
    return list(write_pngs(drawn_plots(build_sections(findings)), folder).values())
