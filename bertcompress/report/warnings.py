"""What a reader of the report has to be warned of, as far as its data shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertcompress.report.contenders import Contender, compare, contenders, teacher_of
from bertcompress.report.models import metric_name, num_rows
from bertcompress.report.numbers import count, percent

NEAR_CHANCE = 0.05  # above the share of the most frequent class
LEAK_SHARE = 0.01  # of a split's rows
LEAKS = ("same", "contained", "near")


def warnings(data: Mapping[str, Any]) -> list[str]:
    """Return the warnings that the data holds, then those that its numbers call for, each once."""
    found = [*(data.get("warnings") or []), *_teacher_warnings(data), *_leak_warnings(data)]
    return list(dict.fromkeys(found))


def _teacher_warnings(data: Mapping[str, Any]) -> Iterator[str]:
    teacher = teacher_of(data)
    if teacher is None or teacher.metric is None:
        return
    share = majority_share(data)
    if share is not None and metric_name(data) == "accuracy" and teacher.metric < share + NEAR_CHANCE:
        yield (
            f"The teacher is near chance: {percent(teacher.metric)} accuracy, and always answering the most "
            f"frequent class gives {percent(share)}. Train it longer, or look at the labels."
        )
    for each in contenders(data):
        if _beats(data, each, teacher):
            whose = "a bag of words" if each.kind == "linear" else "its own student"
            yield (
                f"The teacher ({percent(teacher.metric)}) is beaten by {whose}, {each.name} "
                f"({percent(each.metric)}): it was not trained well enough to teach."
            )


def _beats(data: Mapping[str, Any], ours: Contender, teacher: Contender) -> bool:
    """Whether a student is measurably better, or a bag of words not measurably worse than the teacher."""
    if ours.kind == "teacher int8":
        return False
    found = compare(data, ours, teacher)
    if found is None:
        return False
    return found.is_better or (ours.kind == "linear" and found.difference >= 0)


def majority_share(data: Mapping[str, Any]) -> float | None:
    """Return the share of the most frequent class in the test split, from the results by class."""
    found: Mapping[str, Any] = next(iter((data.get("per_class") or {}).values()), {})
    support = [sum(row) for row in found.get("confusion_matrix") or []]
    return max(support) / sum(support) if sum(support) else None


def _leak_warnings(data: Mapping[str, Any]) -> Iterator[str]:
    """Say which splits another split gives away; `leaks` of the data report counts rows by SPLIT_in_SPLIT."""
    report = (data.get("data") or {}).get("report") or {}
    for name, counts in (report.get("leaks") or {}).items():
        held, _, other = name.partition("_in_")
        rows = (report.get("rows") or num_rows(data)).get(held)
        given = sum(counts.get(kind, 0) for kind in LEAKS)
        if rows and given > LEAK_SHARE * rows:
            yield (
                f"{other} gives away {count(given)} of {count(rows)} rows of {held} (the same, contained or "
                f"nearly the same text): results on {held} are too good."
            )
