"""report.html: one static page with nothing to fetch, for light and dark screens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bertcompress.report.plot import Plot
from bertcompress.report.section import Block, Report


def write_html(report: Report, path: Path) -> Path:
    """Write the page; every text from the run is escaped, and only the figures are trusted as markup."""
    page = _environment().get_template("report.html.j2").render(report=report)
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bertcompress.report"),
        autoescape=True,
        undefined=StrictUndefined,  # an unknown name is our mistake, never an empty place on the page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"template": _template, "svg": _svg, "anchor": _anchor, "shown": _shown}
    return environment


def _template(block: Block) -> str:
    """Return the template of a kind of block: every kind has its own file, so an unknown kind is an error."""
    return f"{type(block).__name__.lower()}.html.j2"


def _svg(plot: Plot) -> Markup:
    # matplotlib's SVG writer escapes the texts in a figure.
    return Markup(plot.svg())


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _shown(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks that have something to show: a plot may have no points."""
    return [block for block in blocks if not isinstance(block, Plot) or block.figure is not None]
