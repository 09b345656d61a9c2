"""The report says what the data says, in every form, whatever is missing and whatever the texts hold."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_sample import Page, sample_data
from rich.console import Console

from bertcompress.report import build_report, print_summary
from bertcompress.report.html import write_html
from bertcompress.report.json import write_json
from bertcompress.report.markdown import write_markdown
from bertcompress.report.models import model_rows
from bertcompress.report.numbers import duration, number, short_count
from bertcompress.report.plot import Plot
from bertcompress.report.section import drawn_plots
from bertcompress.report.sections import build_sections, describe

HOSTILE = '<script>alert("x")</script> [bold]$\\frac{a}{b}$ | `x` & [/nope]'
SECTIONS = (
    "description",
    "seed",
    "created",
    "machine",
    "versions",
    "command",
    "recipe",
    "task",
    "budgets",
    "models",
)
MORE_SECTIONS = ("verdict", "search", "latency_table", "training", "benchmark", "stages", "space")


@pytest.fixture
def data() -> dict[str, Any]:
    return sample_data()


def read_page(data: dict[str, Any], folder: Path) -> Page:
    return Page(build_report(data, folder).read_text(encoding="utf-8"))


def read_forms(data: dict[str, Any], folder: Path) -> tuple[Page, str, str]:
    """The page, the Markdown and the terminal's text, without the figures, which take most of the time."""
    report = describe(data)
    sections = tuple(
        replace(section, blocks=tuple(block for block in section.blocks if not isinstance(block, Plot)))
        for section in report.sections
    )
    report = replace(report, sections=sections)
    page = Page(write_html(report, folder / "report.html").read_text(encoding="utf-8"))
    markdown = write_markdown(report, folder / "report.md", plots={}).read_text(encoding="utf-8")
    return page, markdown, terminal(data)


def terminal(data: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_summary(data, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_report_writes_every_form(data: dict[str, Any], tmp_path: Path) -> None:
    assert build_report(data, tmp_path / "new" / "report") == tmp_path / "new" / "report" / "report.html"
    written = {path.relative_to(tmp_path / "new" / "report").as_posix() for path in tmp_path.rglob("*.*")}
    plots = {"plots/search.png", "plots/latency.png", "plots/training.png"}
    assert written == {"report.html", "report.json", "report.md"} | plots


def test_page_is_self_contained(data: dict[str, Any], tmp_path: Path) -> None:
    page = read_page(data, tmp_path)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert page.tags.count("figure") == page.tags.count("svg") == 3
    assert "script" not in page.tags


def test_every_form_says_the_same(data: dict[str, Any], tmp_path: Path) -> None:
    page, markdown, table = read_forms(data, tmp_path)
    for form in (page.text, markdown, table):
        for words in ("80.8%", "83.5%", "1.12", "86.7", "12.0×", "recommended", "not faster on this CPU"):
            assert words in form
        assert data["verdict"].split(":")[0] in form


def test_report_is_reproducible(data: dict[str, Any], tmp_path: Path) -> None:
    first, second = (build_report(data, tmp_path / name).parent for name in ("first", "second"))
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path.name


def test_building_leaves_the_data_as_it_was(data: dict[str, Any], tmp_path: Path) -> None:
    before = copy.deepcopy(data)
    build_report(data, tmp_path)
    terminal(data)
    assert data == before
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == data


def test_json_is_strict(data: dict[str, Any], tmp_path: Path) -> None:
    data["latency_table"]["kendall"] = float("nan")
    data["models"][0]["files"]["fp32"]["max_logit_error"] = float("inf")
    text = write_json(data, tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["latency_table"]["kendall"] is None


@pytest.mark.parametrize("section", SECTIONS + MORE_SECTIONS)
def test_any_section_may_be_missing(data: dict[str, Any], tmp_path: Path, section: str) -> None:
    del data[section]
    drawn = {plot.name for plot in drawn_plots(build_sections(data))}
    without = {"search": "search", "models": "latency", "training": "training"}
    assert drawn == {"search", "latency", "training"} - {without.get(section)}
    page, markdown, table = read_forms(data, tmp_path)
    assert page.open == []
    assert all("reviews-mini" in form for form in (page.text, markdown, table))


def test_ranges_and_latencies_at_further_conditions_are_told_and_drawn(
    data: dict[str, Any], tmp_path: Path
) -> None:
    further = "latency_ms@8x128-1t-fp32-cpu"
    data["budgets"] = [
        {"name": "size_mib", "limit": 9.5, "least": 2.0, "value": 8.25, "met": True, "conditions": None},
        {"name": "macs", "limit": None, "least": 1_000, "value": 999, "met": False, "conditions": None},
        {"name": further, "limit": 70.0, "value": 65.1, "met": True, "conditions": "batch 8 x 128 tokens"},
    ]
    for child in data["search"]["evaluated"]:
        child |= {further: 40 * child["latency_ms"], "size_mib": child["num_parameters"] * 4 / 2**20}
    for form in read_forms(data, tmp_path)[1:]:
        assert "file size: 8.25 of 2.00 to 9.50 MiB, met" in form
        assert "MACs: 999 of at least 1,000 MACs, broken" in form
        assert "latency: 65.10 of at most 70.00 ms, met (batch 8 x 128" in form
    page = read_page(data, tmp_path)
    assert "of 2.00 to 9.50 MiB" in page.text
    assert "predicted latency (ms), 8x128-1t-fp32-cpu" in page.text
    assert "predicted size (MiB)" in page.text
    assert "budget 2.00" in page.text


def test_a_name_is_enough(tmp_path: Path) -> None:
    page = read_page({"name": "bare"}, tmp_path)
    assert "svg" not in page.tags
    assert "table" not in page.tags
    assert not (tmp_path / "plots").exists()
    assert "bare" in terminal({"name": "bare"})


def test_empty_and_none_values_are_no_failure(data: dict[str, Any], tmp_path: Path) -> None:
    data["training"] = {"teacher": [], "winner": [{"step": 10, "loss": 0.5}], "baseline": None}
    data["budgets"] = [
        {"name": "num_parameters", "limit": 9, "value": None, "met": False, "conditions": None}
    ]
    data["search"]["evaluated"] = [{**child, "latency_ms": None} for child in data["search"]["evaluated"]]
    data["latency_table"] = {"coefficients_ms": {}, "intercept_ms": None, "mape_percent": None}
    data["models"][1]["files"]["int8"] = {
        "size_mib": None,
        "p50_ms": None,
        "recommended": False,
        "reason": None,
    }
    data["models"][2]["operators"] = []
    data["benchmark"]["rows"] = []
    page = read_page(data, tmp_path)
    assert "✗ broken" in page.text
    assert "predicted latency" not in page.text
    assert "not validated" in page.text
    assert "not recommended" in page.text


def test_a_broken_budget_is_said_everywhere(data: dict[str, Any], tmp_path: Path) -> None:
    data["budgets"][1].update(value=2.5, met=False)
    page, markdown, table = read_forms(data, tmp_path)
    assert page.text.count("✗ broken") == 1
    for form in (markdown.replace("\\", ""), table):
        assert "2.50 of at most 1.34 ms, broken" in form


def test_a_percentile_without_support_is_a_dash(data: dict[str, Any], tmp_path: Path) -> None:
    page, markdown, _ = read_forms(data, tmp_path)
    assert "too few repeats" in page.text
    start = "| winner | fp32 | cpu | 8 "
    line = next(line for line in markdown.splitlines() if line.startswith(start))
    assert line.split("|")[9].strip() == "-"


@pytest.mark.filterwarnings("ignore:Glyph")
def test_why_a_benchmark_is_noisy_and_what_weights_beyond_the_cache_cost_is_told(
    data: dict[str, Any], tmp_path: Path
) -> None:
    build_report(data, tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "The machine was not quiet: other processes used 20% of the CPUs." in text
        assert "each million weights of operators beyond 3.68 million" in text
    del data["benchmark"]["noise"], data["latency_table"]["streaming"]
    build_report(data, tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "not quiet" not in text
        assert "beyond" not in text


def test_texts_of_the_run_are_never_markup(data: dict[str, Any], tmp_path: Path) -> None:
    data |= {"name": HOSTILE, "description": HOSTILE, "verdict": HOSTILE, "command": HOSTILE + " ````"}
    data["machine"] = {HOSTILE: HOSTILE}
    data["recipe"] = {"name": HOSTILE}
    data["budgets"][1]["conditions"] = HOSTILE
    data["training"][HOSTILE] = data["training"].pop("winner")
    data["stages"][0]["name"] = HOSTILE
    for row in data["benchmark"]["rows"]:
        row["model"] = HOSTILE
    for model in data["models"]:
        model |= {"role": HOSTILE, "architecture": HOSTILE}
        model["files"]["int8"]["reason"] = HOSTILE
    page = read_page(data, tmp_path)
    assert page.open == []
    assert "script" not in page.tags
    assert HOSTILE in page.text
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown.split("## To repeat it")[0]
    assert "`````" in markdown
    assert HOSTILE in terminal(data).replace("\n", "")


def test_speedup_is_over_the_teacher_at_the_same_precision(data: dict[str, Any]) -> None:
    rows = {(row.role, row.precision): row for row in model_rows(data)}
    assert rows["winner", "int8"].speedup == pytest.approx(9.87 / 1.166)
    assert rows["teacher", "fp32"].speedup == 1.0
    del data["models"][0]
    assert all(row.speedup is None for row in model_rows(data))


def test_the_metric_of_another_task_is_found(data: dict[str, Any], tmp_path: Path) -> None:
    data["task"]["metric_name"] = "f1"
    data["models"][2]["files"]["fp32"] = {"test_f1": 0.712, "p50_ms": 1.1, "recommended": True}
    page, markdown, _ = read_forms(data, tmp_path)
    assert "test f1" in page.text
    assert "71.2%" in page.text
    assert "71.2%" in markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (0.1234, "0.123"), (1.234, "1.23"), (123.4, "123.4")],
)
def test_numbers_keep_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_counts_and_durations_read_as_a_person_writes_them() -> None:
    assert [short_count(value) for value in (None, 512, 46656, 22_713_986, 1.21e9)] == [
        "-",
        "512",
        "46.7k",
        "22.7M",
        "1.21G",
    ]
    assert [duration(value) for value in (None, 6.2, 59.96, 141.7)] == ["-", "6.2 s", "60.0 s", "2 min 22 s"]
