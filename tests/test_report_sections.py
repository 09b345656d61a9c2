"""Every form shows every block and every section; no cell is lost at any width of the terminal."""

from __future__ import annotations

import io
import json
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from jinja2 import UndefinedError
from report_sample import Page, sample_data
from rich.console import Console

from bertcompress.report import build_report, print_summary, sections
from bertcompress.report.html import _environment, write_html
from bertcompress.report.markdown import write_markdown
from bertcompress.report.plot import Plot
from bertcompress.report.section import (
    Block,
    Box,
    Card,
    Cards,
    Cell,
    Chain,
    Column,
    Heading,
    Items,
    Preformatted,
    Report,
    Section,
    Table,
    Words,
)
from bertcompress.report.terminal import print_sections, print_table

RECORDS = Path(__file__).parent.parent / "benchmarks" / "results"
WIDTHS = (40, 60, 80, 120)
COLUMNS: list[Column[tuple[str, int]]] = [
    Column("name", lambda row: Cell(row[0], "strong", hover="hovering"), is_text=True),
    Column("amount", lambda row: str(row[1])),
]
BLOCKS: list[Block] = [
    Words("a paragraph", "bad"),
    Items((Words("an item"), Words("another", "quiet"))),
    Heading("a heading", "aside"),
    Table.of(COLUMNS, [("a name", 4711)], highlight=lambda row: row[0] == "a name"),
    Cards((Card("latency", "1.2", "at most 1.5 ms", True, "one thread"),)),
    Chain((Box("attention", "3 heads", "mha3", "#123456"),)),
    Preformatted("some  text"),
    Plot("nothing", "a plot of nothing", lambda: None),
]
SAID = (
    "a paragraph",
    "another",
    "a heading",
    "a name",
    "4711",
    "at most 1.5 ms",
    "attention",
    "3 heads",
    "some  text",
)


def printed(given: list[Section], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_sections(given, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_form_shows_every_kind_of_block(tmp_path: Path) -> None:
    assert {type(block) for block in BLOCKS} == set(get_args(Block))
    section = Section("All kinds", tuple(BLOCKS), in_summary=True)
    report = Report("name", (Words("introduction"),), (section,))
    page = Page(write_html(report, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    markdown = write_markdown(report, tmp_path / "report.md", plots={}).read_text(encoding="utf-8")
    for form in (page.text, markdown, printed([section])):
        assert "All kinds" in form
        for words in SAID:
            assert words in form
        assert "a plot of nothing" not in form


def test_a_block_without_a_template_is_an_error(tmp_path: Path) -> None:
    unknown: Any = Box("not", "a", "block", "")
    report = Report("name", (), (Section("title", (unknown,)),))
    with pytest.raises(Exception, match=r"box\.html\.j2"):
        write_html(report, tmp_path / "report.html")


def test_templates_fail_on_an_unknown_name() -> None:
    with pytest.raises(UndefinedError, match="mistyped"):
        _environment().from_string("{{ mistyped }}").render()


def test_every_section_has_a_file_and_every_file_its_place() -> None:
    files = {module.name for module in pkgutil.iter_modules(sections.__path__)}
    listed = [module.__name__.rpartition(".")[2] for module in sections.SECTIONS]
    assert set(listed) == files
    assert len(listed) == len(files)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_cell_is_lost_at_any_width(width: int) -> None:
    data = sample_data()
    for section in sections.build_sections(data):
        for table in section.blocks:
            if not isinstance(table, Table):
                continue
            console = Console(file=io.StringIO(), width=width)
            print_table(table, console)
            assert isinstance(console.file, io.StringIO)
            shown = console.file.getvalue()
            assert max(map(len, shown.splitlines())) <= width
            # Folded at spaces only: every word of every cell is there, whole, as often as in the data.
            found = shown.replace(":", " ").replace(";", " ").split()
            for row in table.rows:
                for word in (word for cell in row.cells for word in cell.text.split()):
                    bare = word.replace(":", " ").split()
                    assert all(part in found for part in bare), (section.title, word)


def test_the_models_stand_in_one_table_at_80_columns() -> None:
    models = next(section for section in sections.build_sections(sample_data()) if section.title == "Models")
    lines = printed([models], width=80).splitlines()
    first = next(line for line in lines if line.startswith("teacher"))
    words = "teacher fp32 86.7 84.0% 13.42 1.0× 22.7M 362M recommended"
    assert " ".join(first.split()) == words


def test_rows_of_a_table_too_wide_come_one_below_the_other() -> None:
    columns: list[Column[str]] = [
        Column(f"heading{place}", lambda row, place=place: f"{row}{place}") for place in range(12)
    ]
    table = Table.of(columns, ["first", "second"])
    text = printed([Section("wide", (table,))], width=60)
    assert [line for line in text.splitlines() if line in ("first0", "second0")] == ["first0", "second0"]
    assert "heading11: second11" in " ".join(text.split())


def test_a_long_word_is_folded_and_not_cut() -> None:
    columns: list[Column[str]] = [Column("first", str, is_text=True), Column("second", str, is_text=True)]
    text = printed([Section("long", (Table.of(columns, ["x" * 100]),))], width=60)
    assert text.count("x") == 200


def test_a_section_whose_plots_have_no_points_is_left_out(tmp_path: Path) -> None:
    report = Report("name", (), (Section("Empty", (Plot("none", "no points", lambda: None),)),))
    assert "Empty" not in write_html(report, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Empty" not in write_markdown(report, tmp_path / "report.md", plots={}).read_text(encoding="utf-8")
    assert "Empty" not in printed(list(report.sections))


@pytest.mark.parametrize("name", ["reviews-mini", "sst2-small"])
def test_records_of_earlier_versions_stay_readable(name: str, tmp_path: Path) -> None:
    data = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    page = Page(build_report(data, tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    winner = next(model for model in data["models"] if model["role"] == "winner")
    console = Console(file=io.StringIO(), width=200)
    print_summary(data, console)
    assert isinstance(console.file, io.StringIO)
    for form in (page.text, console.file.getvalue()):
        assert f"{100 * winner['files']['fp32']['test_accuracy']:.1f}%" in form
        # A form may set the first sentence apart.
        assert "".join(data["verdict"].split()) in "".join(form.split())


def test_only_the_sections_of_the_summary_are_printed_after_a_run() -> None:
    data = sample_data()
    console = Console(file=io.StringIO(), width=120)
    print_summary(data, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for section in sections.build_sections(data):
        assert (f"\n{section.title}\n" in shown) == section.in_summary


def test_a_row_is_read_with_its_columns() -> None:
    table = Table.of(COLUMNS, [("one", 1), ("two", 2)])
    assert table.headings == ("name", "amount")
    assert table.text_columns == {0}
    assert [row.cells[1] for row in table.rows] == [Cell("1"), Cell("2")]
    assert not table.is_grouped
    assert replace(table, rows=table.rows[:1] * 2).is_grouped
