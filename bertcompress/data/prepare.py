"""From a source's rows to train, validation and test: checked, no duplicates across them, carved by seed.

Validation is for choosing (anchor, search, early stop); test is only reported."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from bertcompress.data.carving import carve
from bertcompress.data.leaks import count_leaks
from bertcompress.data.rows import Row, Splits, checked_rows, raise_problems
from bertcompress.sources.data import LoadedSource
from bertcompress.tasks.labels import look_alikes, shown
from bertcompress.tasks.text_classification import TextClassification

FRACTIONS = {"test": 0.1, "validation": 0.1}
NO_LIMITS: Mapping[str, int | None] = {}


@dataclass(frozen=True)
class PreparedData:
    """Three splits of the task's text columns, class ids in its label column, and what was done to get them.

    `report` holds `files` (what was read of each), `rows` (by split), `carved` (splits taken from train),
    `carving` (how, see Carving), `leaks` (rows of one split that another gives away, see count_leaks),
    `duplicates_dropped` (by split), `conflicting_duplicates` (dropped rows whose label differed from the kept
    one) and `look_alike_labels` (class names that differ in case or spaces only).
    """

    task: TextClassification
    splits: dict[str, Dataset]
    report: dict[str, Any]


def prepare(
    source: LoadedSource,
    *,
    text_columns: Sequence[str],
    label_column: str,
    label_names: Sequence[str] | None = None,
    fractions: Mapping[str, float] = FRACTIONS,
    max_rows: Mapping[str, int | None] = NO_LIMITS,
    seed: int = 0,
    group_column: str | None = None,
) -> PreparedData:
    """Check the rows, drop duplicates, and carve what is missing from train, the same for the same seed.

    A split that the source has is used as it is, but for duplicates: a text of test is dropped from
    validation, a text of either from train, and train keeps the first of equal texts. `fractions` are the
    shares of train that become test and validation where the source lacks them (carving.py): rows whose texts
    contain each other or are nearly alike, and rows of one group by `group_column`, stay on one side.
    `max_rows` is by split as well, and one with more rows is sampled.

    Raises:
        DataError: a column is missing or of the wrong type, rows are empty, labels do not fit, or a class is
            missing from train; all problems found at one level come together.
    """
    names, rows = checked_rows(source, text_columns, label_column, label_names, group_column)
    dropped, conflicting = _drop_duplicates(rows)
    rng = random.Random(seed)
    carved, carving = _carve_missing(rows, names, fractions, seed)
    limited = {name: _limit(rows[name], max_rows.get(name), rng) for name in ("train", "validation", "test")}
    if max_rows.get("train") is not None:
        raise_problems(_class_problems(limited["train"], names, "raise data.max_train_rows"))
    return PreparedData(
        task=TextClassification(tuple(text_columns), label_column, names),
        splits={name: _dataset(split, text_columns, label_column) for name, split in limited.items()},
        report={
            "files": [dict(counts) for counts in source.files],
            "rows": {name: len(split) for name, split in limited.items()},
            "carved": carved,
            "carving": carving,
            "leaks": _leaks(limited),
            "duplicates_dropped": dropped,
            "conflicting_duplicates": conflicting,
            "look_alike_labels": look_alikes(names),
        },
    )


def _carve_missing(
    rows: Splits, label_names: Sequence[str], fractions: Mapping[str, float], seed: int
) -> tuple[list[str], dict[str, int]]:
    """Add, in place, the splits that are missing, each by its fraction of train; their names and a report."""
    raise_problems(_class_problems(rows["train"], label_names, "leave it out of task.label_names"))
    carved = [name for name in ("test", "validation") if name not in rows]
    raise_problems(_size_problems(rows["train"], label_names, len(carved) + 1))
    if not carved:
        return [], {}
    train = rows["train"]
    carving = carve(train, {name: fractions[name] for name in carved}, seed)
    for name, numbers in carving.rows.items():
        rows[name] = [train[number] for number in numbers]
    return carved, dict(carving.report)


def _leaks(rows: Splits) -> dict[str, dict[str, int]]:
    """What train gives away of validation and test, and validation of test."""
    others = {"validation_in_train": ("validation", "train"), "test_in_train": ("test", "train"),
              "test_in_validation": ("test", "validation")}  # fmt: skip
    return {name: count_leaks(rows[held], rows[other]) for name, (held, other) in others.items()}


def _class_problems(train: Sequence[Row], label_names: Sequence[str], remedy: str) -> list[str]:
    present = {row.label for row in train}
    if len(label_names) < 2 or len(present) < 2:
        only = ", ".join(label_names[label] for label in present) or "none"
        return [f"train: has one class only ({only}); two or more are needed"]
    missing = [name for label, name in enumerate(label_names) if label not in present]
    return [f"train: has no row of class {shown(missing)}; {remedy}"] if missing else []


def _size_problems(train: Sequence[Row], label_names: Sequence[str], num_splits: int) -> list[str]:
    few = {label: count for label, count in sorted(_counts(train).items()) if count < num_splits}
    needed = f"at least {num_splits} are needed, one for each split that is made of train"
    return [
        f"train: class {label_names[label]!r} has {count} different texts; {needed}"
        for label, count in few.items()
    ]


def _drop_duplicates(rows: Splits) -> tuple[dict[str, int], int]:
    """Drop, in place, what a split before it (test, validation, train) has, and train's own repeats."""
    seen: dict[tuple[str, ...], int] = {}
    dropped: dict[str, int] = {}
    conflicting = 0
    for name in ("test", "validation", "train"):
        kept: list[Row] = []
        before = dict(seen) if name != "train" else seen
        for row in rows.get(name, []):
            if row.texts in before:
                conflicting += before[row.texts] != row.label
                continue
            seen[row.texts] = row.label
            kept.append(row)
        if name in rows:
            dropped[name] = len(rows[name]) - len(kept)
            rows[name] = kept
    return dropped, conflicting


def _counts(rows: Sequence[Row]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for row in rows:
        counts[row.label] = counts.get(row.label, 0) + 1
    return counts


def _limit(rows: list[Row], max_rows: int | None, rng: random.Random) -> list[Row]:
    if max_rows is None or max_rows >= len(rows):
        return rows
    return [rows[number] for number in sorted(rng.sample(range(len(rows)), max_rows))]


def _dataset(rows: Sequence[Row], text_columns: Sequence[str], label_column: str) -> Dataset:
    columns: dict[str, list[Any]] = {
        column: [row.texts[position] for row in rows] for position, column in enumerate(text_columns)
    }
    return Dataset.from_dict(columns | {label_column: [row.label for row in rows]})
