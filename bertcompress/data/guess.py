"""Which columns of a source hold the text and the label, guessed for a first recipe (`bertcompress init`).

What the guess got wrong, the checks of recipe and data say before anything is trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset

from bertcompress.errors import DataError
from bertcompress.tasks.labels import is_missing, label_word

NUM_PEEKED_ROWS = 10_000  # rows by which lengths and columns without a telling name are judged
MAX_GUESSED_LABELS = 100
PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
)
TEXT_NAMES = (
    "text", "sentence", "review", "content", "body", "comment", "message", "tweet", "document", "question",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "sentiment", "class", "category", "target", "intent", "topic", "rating", "stars", "y",
)  # fmt: skip


@dataclass(frozen=True)
class ColumnGuess:
    """One text column (two for pairs), the label column and its values, a length, and the reasons."""

    text_columns: tuple[str, ...]
    label_column: str
    label_values: tuple[str, ...]
    max_length: int
    reasons: tuple[str, ...]


def guess_columns(source: str, train: Dataset) -> ColumnGuess:
    """Guess columns and length by the columns' names, or else by their values.

    Raises:
        DataError: no column can be the text or the label.
    """
    first = train.select(range(min(NUM_PEEKED_ROWS, len(train))))
    columns = {
        name: [] if name not in _word_columns(train) else _words(first, name) for name in train.column_names
    }
    label, label_reason = _guess_label(source, columns)
    text, text_reason = _guess_text(source, {name: each for name, each in columns.items() if name != label})
    values = tuple(sorted(set(_words(train, label))))
    shown = ", ".join(values[:6]) + (", ..." if len(values) > 6 else "")
    max_length = _guess_max_length([columns[name] for name in text])
    return ColumnGuess(
        text_columns=text,
        label_column=label,
        label_values=values,
        max_length=max_length,
        reasons=(
            f"text: {' and '.join(text)} ({text_reason})",
            f"label: {label} ({label_reason}); {len(values)} values in {len(train)} rows: {shown}",
            f"max_length: {max_length} tokens, by the 95th percentile of words",
        ),
    )


def _word_columns(train: Dataset) -> list[str]:
    """The columns that hold one value a row; lists and objects are neither text nor label."""
    return [name for name, feature in train.features.items() if getattr(feature, "dtype", None) is not None]


def _words(rows: Dataset, column: str) -> list[str]:
    """The values of a column as words, without those that are missing."""
    return [label_word(value) for value in rows[column][:] if not is_missing(value)]


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_lower = {column.strip().lower(): column for column in columns}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _guess_label(source: str, columns: dict[str, list[str]]) -> tuple[str, str]:
    named = _named(list(columns), LABEL_NAMES)
    if named is not None and not _is_text_by_its_values(columns, named):
        return named, "its name"
    counts = {column: Counter(values) for column, values in columns.items()}
    likely = [
        column
        for column, counted in counts.items()
        if 2 <= len(counted) <= min(MAX_GUESSED_LABELS, counted.total() // 2)
    ]
    if not likely:
        raise DataError(
            f"{source}: no column looks like a label (2 to {MAX_GUESSED_LABELS} values that repeat); found "
            f"{', '.join(columns)}; rename the label's column to `label`, or write the recipe by hand"
        )
    return min(likely, key=lambda column: len(counts[column])), "it has the fewest different values"


def _is_text_by_its_values(columns: dict[str, list[str]], name: str) -> bool:
    """Whether a column that is named like a label holds a different text in nearly every row."""
    values = columns[name]
    return len(columns) > 2 and len(set(values)) > max(MAX_GUESSED_LABELS, len(values) // 2)


def _guess_text(source: str, columns: dict[str, list[str]]) -> tuple[tuple[str, ...], str]:
    names = list(columns)
    for pair in PAIR_NAMES:
        found = tuple(column for name in pair if (column := _named(names, [name])) is not None)
        if len(found) == 2:
            return found, "their names are those of a pair"
    named = _named(names, TEXT_NAMES)
    if named is not None:
        return (named,), "its name"
    if not columns:
        raise DataError(f"{source}: no column is left for the text beside the label")
    longest = max(names, key=lambda column: sum(map(len, columns[column])))
    return (longest,), "it holds the longest values"


def _guess_max_length(columns: Sequence[Sequence[str]]) -> int:
    """The 95th percentile of words at 1.4 word pieces a word, rounded up to a multiple of 32, at most 512."""
    words = sorted(sum(len(text.split()) for text in texts) for texts in zip(*columns, strict=False))
    pieces = int(1.4 * words[int(0.95 * (len(words) - 1))]) + 2 if words else 0
    return min(512, max(32, -(-pieces // 32) * 32))
