"""report.html: one static page with nothing to fetch, for light and dark screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup

from bertcompress.report import rows, supernet_rows
from bertcompress.report.evolution import evolution_sections
from bertcompress.report.json import strict_json
from bertcompress.report.plots import Plot
from bertcompress.space import KINDS, Operator


def write_html(data: Mapping[str, Any], path: Path, *, plots: Sequence[Plot]) -> Path:
    """Write the page; every text from the run is escaped, and only the figures are trusted as markup."""
    # The figures come from plots.py, whose SVG writer escapes the texts in them.
    figures = {plot.name: {"caption": plot.caption, "svg": Markup(plot.svg())} for plot in plots}
    template = _environment().get_template("report.html.j2")
    page = template.render(
        data=data,
        kinds=KINDS.values(),
        figures=figures,
        metric=rows.metric_name(data),
        models=rows.model_rows(data),
        chains=[_chain(model) for model in data.get("models") or []],
        benchmark_notes=rows.benchmark_notes(data),
        heldout=rows.heldout_words(data.get("latency_table") or {}),
        operator_costs=rows.operator_costs(data.get("latency_table") or {}),
        benchmark=(data.get("benchmark") or {}).get("rows") or [],
        percentiles=rows.PERCENTILES,
        supernet=_supernet(data),
        recipe=yaml.safe_dump(strict_json(data.get("recipe") or {}), sort_keys=False, allow_unicode=True),
        choices=_choices(data.get("space") or {}),
        total_seconds=sum(stage.get("seconds") or 0 for stage in data.get("stages") or []),
    )
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bertcompress.report"),
        autoescape=True,
        undefined=ChainableUndefined,  # a section that the run did not make is left out
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (
        rows.number,
        rows.count,
        rows.short_count,
        rows.percent,
        rows.times,
        rows.duration,
        rows.budget_words,
        rows.budget_label,
        rows.budget_value,
        rows.budget_limits,
    )
    environment.filters.update({word.__name__: word for word in words})
    return environment


def _chain(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model as boxes, one an operator, in the order a token passes them."""
    names = model.get("operators") or []
    return {"model": model, "boxes": [_box(Operator.parse(name)) for name in names]}


def _box(operator: Operator) -> dict[str, str]:
    kind = KINDS[operator.kind]
    words = kind.describe_size(operator.size)
    return {"kind": kind.word, "name": operator.name, "title": kind.title, "words": words}


def _supernet(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sections about the supernet: title, figure, headings, rows, words and warnings."""
    ranking, interference = data.get("ranking") or {}, data.get("interference") or {}
    sections = [
        {
            "title": "Ranking of children",
            "figure": "ranking",
            "headings": supernet_rows.RANKING_HEADINGS,
            "rows": supernet_rows.ranking_rows(ranking),
            "words": supernet_rows.ranking_words(ranking),
            "warnings": ranking.get("warnings") or [],
        },
        {
            "title": "Interference",
            "figure": "interference",
            "headings": supernet_rows.INTERFERENCE_HEADINGS,
            "rows": supernet_rows.interference_rows(interference),
            "words": supernet_rows.interference_words(interference),
            "warnings": [],
        },
    ]
    return [section for section in sections if section["rows"]] + evolution_sections(data)


def _choices(space: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The operators that may stand at each position, runs of equal positions together."""
    runs: list[tuple[int, int, tuple[str, ...]]] = []
    for position, names in enumerate(space.get("choices") or [], start=1):
        choice = tuple(str(name) for name in names)
        if runs and runs[-1][2] == choice:
            runs[-1] = (runs[-1][0], position, choice)
        else:
            runs.append((position, position, choice))
    return [
        (str(first) if first == last else f"{first} to {last}", ", ".join(names))
        for first, last, names in runs
    ]
