"""The report in a terminal of any width: no cell is ever cut off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, assert_never

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bertcompress.report.plot import Plot
from bertcompress.report.section import (
    Block,
    Cards,
    Cell,
    Chain,
    Heading,
    Items,
    Preformatted,
    Report,
    Section,
    Table,
    Words,
)

STYLES = {"plain": "", "strong": "bold", "good": "green", "bad": "bold red", "quiet": "dim"}
GAPS = (2, 1)  # spaces between columns; the first at which a table fits
INDENT = 2


def print_report(report: Report, console: Console) -> None:
    """Print the report's name and the sections of its summary."""
    console.print(Text(report.name, style="bold"))
    print_sections((section for section in report.sections if section.in_summary), console)


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print every section but what is drawn; text from the run is never read as markup."""
    for section in sections:
        if all(isinstance(block, Plot) for block in section.blocks):
            continue
        console.print()
        console.print(Text(section.title, style="bold underline"))
        for block in section.blocks:
            _print_block(block, console)


def _print_block(block: Block, console: Console) -> None:
    match block:
        case Words():
            console.print(_text(block))
        case Items():
            for words in block.items:
                console.print(Text.assemble("- ", _text(words)))
        case Heading():
            console.print(Text(block.text, style="bold"))
        case Table():
            print_table(block, console)
        case Cards():
            for card in block.cards:
                console.print(Text(card.words, style=STYLES["good" if card.met else "bad"]))
        case Chain():
            console.print(Text(block.words))
        case Preformatted():
            if not block.summary:
                console.print(Text(block.text))
        case Plot():
            pass
        case _:
            assert_never(block)


def _text(words: Words | Cell) -> Text:
    return Text(words.text, style=STYLES[words.tone], overflow="fold")


def print_table(table: Table, console: Console) -> None:
    """Print the table with cells folded at spaces, or row below row where words would have to break."""
    for gap in GAPS:
        room = console.width - gap * (len(table.headings) - 1)
        widths = _column_widths(table, room)
        if sum(widths) <= room:
            return console.print(_grid(table, widths, gap))
    return _print_stacked(table, console)


def _column_widths(table: Table, room: int) -> list[int]:
    """Return the columns' widths, the widest narrowed until all fit or no cell folds at a space any more."""
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    columns = list(zip(table.headings, *rows, strict=True))
    least = [max((cell_len(word) for word in " ".join(column).split()), default=1) for column in columns]
    widths = [max(map(cell_len, column)) for column in columns]
    while sum(widths) > room:
        narrowable = [place for place, width in enumerate(widths) if width > least[place]]
        if not narrowable:
            break
        widths[max(narrowable, key=widths.__getitem__)] -= 1
    return widths


def _grid(table: Table, widths: Sequence[int], gap: int) -> RichTable:
    # A box without edges puts one space between columns, the padding the rest of the gap.
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
    for place, (heading, width) in enumerate(zip(table.headings, widths, strict=True)):
        justify: Literal["left", "right"] = "left" if place in table.text_columns else "right"
        grid.add_column(Text(heading), justify=justify, width=width, overflow="fold")
    previous = None
    for row in table.rows:
        if previous not in (None, row.cells[0].text) and table.is_grouped:
            grid.add_section()
        grid.add_row(*map(_text, row.cells), style="bold" if row.highlighted else None)
        previous = row.cells[0].text
    return grid


def _print_stacked(table: Table, console: Console) -> None:
    """Print each row as its first cell, then every other cell after its heading."""
    for row in table.rows:
        first, *others = map(_text, row.cells)
        console.print(first)
        pairs = [
            Text.assemble((f"{heading}: ", "dim"), cell)
            for heading, cell in zip(table.headings[1:], others, strict=True)
            if cell.plain
        ]
        console.print(Padding(Text("; ").join(pairs), (0, 0, 0, INDENT)))
