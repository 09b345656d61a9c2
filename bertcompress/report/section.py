"""A report as typed data: sections of blocks, which the terminal, Markdown and HTML each know how to show.

A section says what there is to read; it knows no form. A form knows every block and no section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Literal, TypeVar

from bertcompress.report.plot import Plot

T = TypeVar("T")
Tone = Literal["plain", "strong", "good", "bad", "quiet"]


@dataclass(frozen=True)
class Words:
    """One paragraph."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Items:
    """A list of paragraphs, each with a mark before it."""

    items: tuple[Words, ...]


@dataclass(frozen=True)
class Heading:
    """A heading inside a section; `aside` stands beside it in a quiet tone."""

    text: str
    aside: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table; HTML shows `hover` under the pointer."""

    text: str
    tone: Tone = "plain"
    hover: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a table; the winner's are highlighted."""

    cells: tuple[Cell, ...]
    highlighted: bool = False


@dataclass(frozen=True)
class Column(Generic[T]):
    """How a column is made: its heading, and its cell for one item. Text stands left, numbers right."""

    heading: str
    cell: Callable[[T], Cell | str]
    is_text: bool = False


@dataclass(frozen=True)
class Table:
    """Headings, rows, and the places of the columns that hold text."""

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    text_columns: frozenset[int]

    @property
    def is_grouped(self) -> bool:
        """Whether rows that follow each other share their first cell, so that a line between groups helps."""
        firsts = [row.cells[0].text for row in self.rows]
        return any(first == second for first, second in pairwise(firsts))

    @classmethod
    def of(
        cls,
        columns: Sequence[Column[T]],
        items: Iterable[T],
        *,
        highlight: Callable[[T], bool] = lambda _: False,
    ) -> Table:
        """Return the table with a row for each item."""
        return cls(
            tuple(column.heading for column in columns),
            tuple(
                Row(tuple(_cell(column.cell(item)) for column in columns), highlight(item)) for item in items
            ),
            frozenset(place for place, column in enumerate(columns) if column.is_text),
        )


def _cell(cell: Cell | str) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)


@dataclass(frozen=True)
class Card:
    """A number to see at once: `value` of `limits`, and whether it was met under `conditions`."""

    label: str
    value: str
    limits: str
    met: bool
    conditions: str = ""

    @property
    def words(self) -> str:
        """The card in one line: "latency: 1.21 of at most 1.50 ms, met (batch 1, ...)"."""
        conditions = f" ({self.conditions})" if self.conditions else ""
        return f"{self.label}: {self.value} of {self.limits}, {'met' if self.met else 'broken'}{conditions}"


@dataclass(frozen=True)
class Cards:
    """Numbers side by side."""

    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Box:
    """One operator of a drawn architecture; `name` is its word in a recipe."""

    title: str
    words: str
    name: str
    colour: str


@dataclass(frozen=True)
class Chain:
    """An architecture as its operators, in the order in which a token passes them."""

    boxes: tuple[Box, ...]

    @property
    def words(self) -> str:
        """The chain in one line: "attention (3 heads) → feed-forward (384 wide)"."""
        return " → ".join(f"{box.title} ({box.words})" for box in self.boxes)


@dataclass(frozen=True)
class Preformatted:
    """Text whose line breaks count. With a `summary`, HTML folds it, and the other forms leave it out."""

    text: str
    summary: str = ""


Block = Words | Items | Heading | Table | Cards | Chain | Preformatted | Plot


@dataclass(frozen=True)
class Section:
    """One section of the report; the terminal prints it at the end of a run when it is `in_summary`."""

    title: str
    blocks: tuple[Block, ...]
    in_summary: bool = False


@dataclass(frozen=True)
class Report:
    """A whole report: its name, what stands below the name, and its sections in order."""

    name: str
    introduction: tuple[Words, ...]
    sections: tuple[Section, ...]


def drawn_plots(sections: Iterable[Section]) -> list[Plot]:
    """Draw the plots of the sections; return those that had something to show."""
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    return [plot for plot in plots if plot.figure is not None]
