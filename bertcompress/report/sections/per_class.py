"""Results by class: precision, recall and F1, and which classes are taken for which.

The data has, by model's role, scikit-learn's `classification_report(output_dict=True)` as "report" and its
`confusion_matrix` as "confusion_matrix": rows are the labels, columns the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bertcompress.report.numbers import count, percent
from bertcompress.report.section import Block, Cell, Column, Heading, Section, Table, Words

AVERAGES = ("accuracy", "micro avg", "macro avg", "weighted avg")
MOST_CLASSES = 10  # of a matrix that is shown whole
MOST_CONFUSIONS = 20
CLASS_COLUMNS: list[Column[tuple[str, Mapping[str, float]]]] = [
    Column("class", lambda row: row[0], is_text=True),
    Column("precision", lambda row: percent(row[1]["precision"])),
    Column("recall", lambda row: percent(row[1]["recall"])),
    Column("F1", lambda row: percent(row[1]["f1-score"])),
    Column("rows", lambda row: count(row[1]["support"])),
]
CONFUSION_COLUMNS: list[Column[tuple[int, str, str]]] = [
    Column("label", lambda row: row[1], is_text=True),
    Column("taken for", lambda row: row[2], is_text=True),
    Column("rows", lambda row: count(row[0])),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Results by class"."""
    blocks = [
        block for role, found in (data.get("per_class") or {}).items() for block in _blocks(role, found)
    ]
    return Section("Results by class", tuple(blocks)) if blocks else None


def _blocks(role: str, found: Mapping[str, Any]) -> Iterator[Block]:
    rows = [(name, row) for name, row in found["report"].items() if isinstance(row, Mapping)]
    classes = [name for name, _ in rows if name not in AVERAGES]
    yield Heading(role)
    yield Table.of(CLASS_COLUMNS, rows)
    matrix = found["confusion_matrix"]
    if len(matrix) != len(classes):
        raise ValueError(f"per_class: {role} has {len(classes)} classes and {len(matrix)} rows of confusions")
    if len(classes) <= MOST_CLASSES:
        yield _matrix_table(classes, matrix)
    else:
        yield Words(f"The {MOST_CONFUSIONS} most frequent confusions of {len(classes)} classes:", "quiet")
        yield Table.of(CONFUSION_COLUMNS, _confusions(classes, matrix)[:MOST_CONFUSIONS])


def _matrix_table(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    columns: list[Column[int]] = [Column("label \\ answer", lambda row: classes[row], is_text=True)]
    columns += [Column(name, _confused(matrix, place)) for place, name in enumerate(classes)]
    return Table.of(columns, range(len(classes)))


def _confused(matrix: Sequence[Sequence[int]], place: int) -> Callable[[int], Cell]:
    return lambda row: Cell(count(matrix[row][place]), "strong" if row == place else "plain")


def _confusions(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[tuple[int, str, str]]:
    """Return (rows, label, answer) of every mistake, the most frequent first."""
    found = [
        (rows, classes[label], classes[answer])
        for label, row in enumerate(matrix)
        for answer, rows in enumerate(row)
        if label != answer and rows
    ]
    return sorted(found, key=lambda each: -each[0])
