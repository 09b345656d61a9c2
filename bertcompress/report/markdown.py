"""report.md: the report for a model card, a pull request or a reader without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertcompress.report import rows, supernet_rows
from bertcompress.report.evolution import evolution_sections


def write_markdown(data: Mapping[str, Any], path: Path, *, plots: Mapping[str, Path]) -> Path:
    """Write the report as Markdown; `plots` are drawn files by caption, linked relative to `path`."""
    sections = [
        *_head(data),
        *_models(data),
        *_plots(plots, path.parent),
        *_supernet(data),
        *_latency_table(data),
        *_benchmark(data),
        *_stages(data),
        *_repeat(data),
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def escape(text: Any) -> str:
    """Text that Markdown prints as it stands, in a table cell too."""
    plain = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]#|~!])", r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;"))


def code(text: str) -> str:
    """A fenced block that no run of backticks in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def table(headings: Sequence[str], cells: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table whose first `left` columns stand left and the others right."""
    rule = ["---" if index < left else "---:" for index in range(len(headings))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, rule, *cells])


def _head(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {escape(data['name'])}"
    if data.get("description"):
        yield escape(data["description"])
    if data.get("vocabulary"):
        yield escape(f"Vocabulary: {data['vocabulary']}")
    if data.get("verdict"):
        yield f"**{escape(data['verdict'])}**"
    if data.get("budgets"):
        yield "\n".join(f"- {escape(rows.budget_words(budget))}" for budget in data["budgets"])


def _models(data: Mapping[str, Any]) -> Iterator[str]:
    metric = escape(rows.metric_name(data))
    headings = ["model", "architecture", "precision", "advice", "parameters", "MACs", "MiB"]
    headings += [f"test {metric}", "p50 ms", "speedup"]
    cells = [
        [
            *(escape(text) for text in (row.role, row.architecture, row.precision, row.advice)),
            rows.count(row.num_parameters),
            rows.short_count(row.macs),
            rows.number(row.size_mib, 1),
            rows.percent(row.metric),
            rows.number(row.p50_ms),
            rows.times(row.speedup),
        ]
        for row in rows.model_rows(data)
    ]
    if cells:
        yield "## Models"
        yield table(headings, cells, left=4)
        yield "Speedup is over the teacher at the same precision."


def _plots(plots: Mapping[str, Path], folder: Path) -> Iterator[str]:
    for caption, path in plots.items():
        yield f"![{escape(caption)}]({path.relative_to(folder).as_posix()})"


def _supernet(data: Mapping[str, Any]) -> Iterator[str]:
    ranking, interference = data.get("ranking") or {}, data.get("interference") or {}
    if ranking:
        yield "## Ranking of children"
        yield _escaped_table(supernet_rows.RANKING_HEADINGS, supernet_rows.ranking_rows(ranking))
        yield from map(escape, supernet_rows.ranking_words(ranking))
        yield from (f"**Warning:** {escape(warning)}." for warning in ranking["warnings"])
    if interference:
        yield "## Interference"
        cells = supernet_rows.interference_rows(interference)
        yield _escaped_table(supernet_rows.INTERFERENCE_HEADINGS, cells)
        yield from map(escape, supernet_rows.interference_words(interference))
    for section in evolution_sections(data):
        yield f"## {section['title']}"
        yield from map(escape, section["words"])
        if section["rows"]:
            yield _escaped_table(section["headings"], section["rows"])


def _escaped_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return table(list(map(escape, headings)), [list(map(escape, row)) for row in cells])


def _latency_table(data: Mapping[str, Any]) -> Iterator[str]:
    fitted = data.get("latency_table") or {}
    if fitted.get("coefficients_ms"):
        yield "## Latency table"
        costs = rows.operator_costs(fitted)
        yield table(["operator", "ms"], [[escape(name), rows.number(ms, 3)] for name, ms in costs])
        yield escape(rows.heldout_words(fitted))


def _benchmark(data: Mapping[str, Any]) -> Iterator[str]:
    measured = (data.get("benchmark") or {}).get("rows") or []
    if not measured:
        return
    yield "## Benchmark"
    headings = ["model", "precision", "provider", "batch", "sequence", "threads"]
    headings += ["p50 ms", "p95 ms", "p99 ms", "IQR ms", "per second", "repeats"]
    cells = [
        [
            *(escape(row.get(key, rows.MISSING)) for key in ("model", "precision", "provider")),
            *(rows.count(row.get(key)) for key in ("batch_size", "sequence_length", "num_threads")),
            *(rows.number(row.get(key)) for key in (*rows.PERCENTILES, "iqr_ms", "throughput_per_s")),
            rows.count(row.get("repeats")) + (" (noisy)" if row.get("noisy") else ""),
        ]
        for row in measured
    ]
    yield table(headings, cells, left=3)
    yield from map(escape, rows.benchmark_notes(data))


def _stages(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("stages"):
        yield "## Stages"
        cells = [[escape(stage.get("name")), rows.duration(stage.get("seconds"))] for stage in data["stages"]]
        yield table(["stage", "time"], cells)


def _repeat(data: Mapping[str, Any]) -> Iterator[str]:
    facts = {"seed": data.get("seed"), "created": data.get("created")}
    facts |= {**(data.get("machine") or {}), **(data.get("versions") or {})}
    yield "## To repeat it"
    if data.get("command"):
        yield code(str(data["command"]))
    known = [f"- {escape(key)}: {escape(value)}" for key, value in facts.items() if value is not None]
    if known:
        yield "\n".join(known)
