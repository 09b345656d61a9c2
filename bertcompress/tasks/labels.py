"""From what a label column holds (names, numbers, a Hub ClassLabel) to class ids and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import ClassLabel, DatasetDict

NUM_SHOWN = 5
MAX_FOUND_LABELS = 1000


def label_word(value: Any) -> str:
    """A label as text; whole floats read as whole numbers, so that 1.0 in one split is 1 in another."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def find_label_names(splits: DatasetDict, label_column: str) -> tuple[tuple[str, ...], list[str]]:
    """The class names that the data itself gives, sorted, and the problems of finding them."""
    feature = splits["train"].features[label_column]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names), []
    words = sorted(
        {label_word(value) for value in splits["train"][label_column][:] if value is not None} - {""}
    )
    if all(_is_number(word) for word in words):
        words = sorted(words, key=float)
    if len(words) > MAX_FOUND_LABELS or any("." in word for word in words if _is_number(word)):
        problem = f"{len(words)} different values such as {shown(words)} are no classes"
        return (), [f"task.label_column: {label_column!r}: {problem}; name a column of classes"]
    return tuple(words), []


def class_ids(
    splits: DatasetDict, label_column: str, label_names: Sequence[str]
) -> tuple[dict[str, list[int]], list[str]]:
    """Each row's class id by split, and the problems; a label is a name, or else a class id from 0 on."""
    ids_of = {name: index for index, name in enumerate(label_names)}
    numbered = isinstance(splits["train"].features[label_column], ClassLabel)
    # Names such as 1 to 5 stars would be taken for class ids, unless the data says that ids they are.
    if numbered or not any(_is_number(name) for name in label_names):
        ids_of |= {str(index): index for index in range(len(label_names))}
    found: dict[str, list[int]] = {}
    problems: list[str] = []
    for name, rows in splits.items():
        words = [label_word(value) for value in rows[label_column][:]]
        unknown = Counter(word for word in words if word not in ids_of)
        found[name] = [ids_of.get(word, -1) for word in words]
        if unknown:
            problems.append(f"{name}: {_unknown_labels(unknown, label_names)}")
    return found, problems


def _unknown_labels(unknown: Mapping[str, int], label_names: Sequence[str]) -> str:
    values = shown([f"{word!r} ({count} rows)" for word, count in unknown.items()])
    hint = (
        "; -1 marks labels that are kept secret: name another split in data.files" if "-1" in unknown else ""
    )
    return f"labels {values} are not among the {len(label_names)} classes {shown(label_names)}{hint}"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def shown(words: Sequence[Any]) -> str:
    """The first few of `words`, and whether there are more."""
    return ", ".join(str(word) for word in words[:NUM_SHOWN]) + (", ..." if len(words) > NUM_SHOWN else "")
