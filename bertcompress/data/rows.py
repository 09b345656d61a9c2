"""A source's rows, checked: the columns are there, no text or label is missing, every label is a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datasets import Dataset

from bertcompress.errors import DataError
from bertcompress.sources.data import LoadedSource
from bertcompress.tasks.labels import (
    class_ids,
    find_label_names,
    is_missing,
    kinds_in_words,
    label_type_problem,
    label_word,
    shown,
)

TEXT_TYPES = ("string", "large_string")


@dataclass(frozen=True)
class Row:
    """One row's texts, stripped, its class id, and the group that it belongs to, if any."""

    texts: tuple[str, ...]
    label: int
    group: str | None = None


Splits = dict[str, list[Row]]


def checked_rows(
    source: LoadedSource,
    text_columns: Sequence[str],
    label_column: str,
    label_names: Sequence[str] | None,
    group_column: str | None = None,
) -> tuple[tuple[str, ...], Splits]:
    """Return the class names and every split's rows; what a later check builds on is checked first.

    Raises:
        DataError: lists all problems found at one level: columns, missing values, labels.
    """
    raise_problems(_column_problems(source, text_columns, label_column, group_column))
    raise_problems(_missing_problems(source, text_columns, label_column))
    splits = source.splits
    names, problems = (tuple(label_names), []) if label_names else find_label_names(splits, label_column)
    raise_problems(problems)
    ids, problems = class_ids(splits, label_column, names, given=label_names is not None)
    raise_problems(problems)
    return names, {
        name: _rows(split, text_columns, ids[name], group_column) for name, split in splits.items()
    }


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one DataError that lists the problems, if there are any."""
    if problems:
        raise DataError.from_problems("data", problems)


def _column_problems(
    source: LoadedSource, text_columns: Sequence[str], label_column: str, group_column: str | None
) -> list[str]:
    problems = []
    if group_column is not None and group_column not in source.splits["train"].column_names:
        has = _names(source.splits["train"].column_names)
        problems.append(f"data.group_column: no column {group_column!r}; train has {has}")
    if label_column in text_columns:
        problems.append(f"task.label_column: {label_column!r} is also a text column; name another")
    for name, split in source.splits.items():
        has = f"{name} has {_names(split.column_names)}"
        wanted = [*(("text_columns", column) for column in text_columns), ("label_column", label_column)]
        for key, column in wanted:
            if column not in split.column_names:
                problems.append(f"task.{key}: no column {column!r}; {has}")
                continue
            mixed = source.mixed(name, column)
            problem = (
                _text_problem(split, column, mixed)
                if key == "text_columns"
                else label_type_problem(split, column, mixed)
            )
            if problem is not None:
                problems.append(f"task.{key}: column {column!r} of {name} {problem}")
    return problems


def _names(columns: Sequence[str]) -> str:
    """Columns as they are named, in quotation marks where spaces around a name would not be seen."""
    return ", ".join(name if name == name.strip() else repr(name) for name in columns)


def _text_problem(split: Dataset, column: str, mixed: Mapping[str, int]) -> str | None:
    found = kinds_in_words(mixed) or getattr(split.features[column], "dtype", "") or "nested values"
    if found in TEXT_TYPES or found == "null":
        return None
    return f"holds {found}, not text; write every text as text, or name another column"


def _missing_problems(source: LoadedSource, text_columns: Sequence[str], label_column: str) -> list[str]:
    problems = []
    for name, split in source.splits.items():
        if len(split) == 0:
            problems.append(f"{name}: holds no rows")
        for column in (*text_columns, label_column):
            missing = [row for row, value in enumerate(split[column][:]) if is_missing(value)]
            if missing:
                places = shown([source.place(name, row) for row in missing[:6]])
                rows = f"{len(missing)} of {len(split)} rows ({places})"
                problems.append(f"{name}: column {column!r} is empty in {rows}; remove or fill them")
    return problems


def _rows(
    split: Dataset, text_columns: Sequence[str], labels: Sequence[int], group_column: str | None
) -> list[Row]:
    columns = [[text.strip() for text in split[column][:]] for column in text_columns]
    values = split[group_column][:] if group_column in split.column_names else [None] * len(split)
    groups = [None if is_missing(value) else label_word(value) for value in values]
    return [
        Row(texts, label, group)
        for texts, label, group in zip(zip(*columns, strict=True), labels, groups, strict=True)
    ]
