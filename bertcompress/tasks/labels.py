"""From what a label column holds (names, numbers, booleans, a ClassLabel) to class ids and their names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Value

NUM_SHOWN = 5
MAX_FOUND_LABELS = 1000
MAX_DECIMAL_LABELS = 20  # texts such as 1.10 may be codes; more of them are measurements
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
LIST = re.compile(r"\[.*\]", re.DOTALL)
MULTI_LABEL = (
    "lists of labels: the task for them is multi-label-classification, which is not offered yet; "
    "name a column that has one label a row"
)
WORDS = {"text", "numbers"}  # kinds of JSON value that may stand in one column of labels
LABEL_TYPES = re.compile(r"null|string|large_string|bool|u?int\d+|float\d+|decimal.*|date.*")


def is_missing(value: Any) -> bool:
    """Whether a value is none at all: null, NaN, or text without a character that shows."""
    return value is None or value != value or not str(value).strip()


def label_word(value: Any) -> str:
    """A label as text; whole floats read as whole numbers, so that 1.0 in one split is 1 in another."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def label_type_problem(split: Dataset, label_column: str, mixed: Mapping[str, int]) -> str | None:
    """What keeps a column from holding one class a row, if anything; `mixed` as a source gives it."""
    feature = split.features[label_column]
    if type(feature).__name__ in ("List", "LargeList", "Sequence") or "lists" in mixed:
        return f"holds {MULTI_LABEL}"
    if not mixed.keys() <= WORDS:
        return f"holds {kinds_in_words(mixed)}; write all labels in one way"
    if isinstance(feature, ClassLabel):
        return None
    if not isinstance(feature, Value) or not LABEL_TYPES.fullmatch(feature.dtype):
        found = feature.dtype if isinstance(feature, Value) else "nested values"
        return f"holds {found}, no classes; name a column of classes"
    return None


def kinds_in_words(mixed: Mapping[str, int]) -> str:
    """The kinds of value of a column and where the first of each stands."""
    return " and ".join(f"{kind} (line {line})" for kind, line in mixed.items())


def find_label_names(splits: DatasetDict, label_column: str) -> tuple[tuple[str, ...], list[str]]:
    """The class names that the data itself gives, sorted, and the problems of finding them."""
    feature = splits["train"].features[label_column]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names), []
    words = [label_word(value) for value in splits["train"][label_column][:] if not is_missing(value)]
    names = sorted(set(words))
    problem = _no_classes(names, len(words), typed=feature.dtype.startswith(("float", "decimal")))
    if problem is not None:
        return (), [f"task.label_column: {label_column!r}: {problem}"]
    if all(NUMBER.fullmatch(name) for name in names):
        names.sort(key=lambda name: (Decimal(name), name))
    return tuple(names), []


def _no_classes(names: Sequence[str], num_rows: int, *, typed: bool) -> str | None:
    """Why the values of a column are no classes, if they are none; `typed` says that they are floats."""
    values = f"{len(names)} different values such as {shown(names)}"
    if names and all(LIST.fullmatch(name) for name in names):
        return f"{values} are {MULTI_LABEL}"
    numbers = all(NUMBER.fullmatch(name) for name in names)
    decimals = numbers and any("." in name for name in names)
    rarely_repeated = len(names) > min(MAX_DECIMAL_LABELS, num_rows // 2)
    if len(names) > MAX_FOUND_LABELS or (decimals and (typed or rarely_repeated)):
        return f"{values} are no classes; name a column of classes, or list them in task.label_names"
    return None


def look_alikes(label_names: Sequence[str]) -> list[list[str]]:
    """Names that differ only in case, spaces or how Unicode composes them, group by group."""
    groups: dict[str, list[str]] = {}
    for name in label_names:
        plain = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(plain, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def class_ids(
    splits: DatasetDict, label_column: str, label_names: Sequence[str], *, given: bool
) -> tuple[dict[str, list[int]], list[str]]:
    """Each row's class id by split, and the problems.

    Labels are names, or, where the recipe gives the names (`given`), all of them ids from 0 on.
    """
    words = {name: _words(rows, label_column, label_names) for name, rows in splits.items()}
    ids_of = {name: index for index, name in enumerate(label_names)}
    numbered = {str(index): index for index in range(len(label_names))}
    # Names such as 1 to 5 stars could be taken for class ids.
    may_be_ids = given and not any(NUMBER.fullmatch(name) for name in label_names)
    if may_be_ids and all(word in numbered for each in words.values() for word in each):
        ids_of = numbered
    found: dict[str, list[int]] = {}
    problems: list[str] = []
    for name, split_words in words.items():
        unknown = Counter(word for word in split_words if word not in ids_of)
        found[name] = [ids_of.get(word, -1) for word in split_words]
        if unknown:
            hint = _hint(unknown, numbered if may_be_ids else {})
            problems.append(f"{name}: {_unknown_labels(unknown, label_names)}{hint}")
    return found, problems


def _words(rows: Dataset, label_column: str, label_names: Sequence[str]) -> list[str]:
    """The labels of a split as words; of a ClassLabel its names, unless the recipe names all classes anew."""
    feature, values = rows.features[label_column], rows[label_column][:]
    if isinstance(feature, ClassLabel):
        if set(feature.names) & set(label_names):
            return [
                feature.names[value] if 0 <= value < len(feature.names) else str(value) for value in values
            ]
        return [str(value) for value in values]
    if feature.dtype == "bool":
        spelt = {name.lower(): name for name in label_names}
        return [spelt.get(str(value).lower(), str(int(value))) for value in values]
    return [label_word(value) for value in values]


def _unknown_labels(unknown: Mapping[str, int], label_names: Sequence[str]) -> str:
    values = shown([f"{word!r} ({count} rows)" for word, count in unknown.items()])
    return f"labels {values} are not among the {len(label_names)} classes {shown(label_names)}"


def _hint(unknown: Mapping[str, int], numbered: Mapping[str, int]) -> str:
    if "-1" in unknown:
        return "; -1 marks labels that are kept secret: name another split in data.files"
    if any(word in numbered for word in unknown):
        return "; some labels are names and some are ids: write all of them in one way"
    return ""


def shown(words: Sequence[Any]) -> str:
    """The first few of `words`, and whether there are more."""
    return ", ".join(str(word) for word in words[:NUM_SHOWN]) + (", ..." if len(words) > NUM_SHOWN else "")
