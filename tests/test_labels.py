"""Labels: what a column holds is what the classes are called, whatever kind of column it is."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.data.prepare import PreparedData, prepare
from bertcompress.errors import DataError
from bertcompress.sources.data import LoadedSource
from bertcompress.tasks.labels import look_alikes


def prepared(labels: list[Any], *, names: list[str] | None = None, **splits: Dataset) -> PreparedData:
    texts = [f"text {number}" for number in range(len(labels))]
    train = Dataset.from_dict({"text": texts, "label": labels})
    source = LoadedSource(DatasetDict({"train": train, **splits}))
    return prepare(source, text_columns=["text"], label_column="label", label_names=names)


def classes(labels: list[Any], names: list[str] | None = None) -> list[str]:
    """The class name of every row, sorted as the splits are not in the order of the rows."""
    result = prepared(labels, names=names)
    found = [result.task.label_names[row["label"]] for split in result.splits.values() for row in split]
    return sorted(found)


@pytest.mark.parametrize(
    "words",
    [
        ["01", "1", "10"],
        ["1.0", "1.10", "1.1"],
        ["nan", "null", "None", "NA", "inf", "NaN"],
        ["True", "False", "true"],
        ["a,b", "['a'", "caf\u00e9", "cafe\u0301"],
        ["-1", "+1", "0"],
        ["1_000", "1000"],
        ["²", "2"],
    ],
)
def test_words_are_classes_as_they_are_written(words: list[str]) -> None:
    """A class named NA was read as missing (googledatalab/pydatalab 398)."""
    assert sorted(prepared(words * 6).task.label_names) == sorted(words)
    assert classes(words * 6) == sorted(words * 6)


@given(st.permutations(["01", "1", "nan", "inf", "10", "9", "1.0"]), st.booleans())
def test_the_order_of_rows_does_not_change_the_classes(words: list[str], numbers_only: bool) -> None:
    words = [word for word in words if not numbers_only or word[0].isdigit()]
    expected = ["01", "1", "1.0", "9", "10"] if numbers_only else sorted(words)
    assert list(prepared(words * 4).task.label_names) == expected


def test_booleans_are_two_classes_and_may_be_named() -> None:
    assert prepared([True, False] * 6).task.label_names == ("False", "True")
    assert classes([True, False, False] * 6, ["no", "yes"]) == ["no"] * 12 + ["yes"] * 6
    assert classes([True, False, False] * 6, ["true", "false"]) == ["false"] * 12 + ["true"] * 6


def test_ids_are_ids_only_where_names_are_given_and_all_rows_have_them() -> None:
    assert classes(["0", "1", "1"] * 6, ["neg", "pos"]) == ["neg"] * 6 + ["pos"] * 12
    with pytest.raises(DataError, match="some labels are names and some are ids"):
        prepared(["neg", "pos", "1"] * 6, names=["neg", "pos"])
    held = Dataset.from_dict({"text": ["held"], "label": ["1"]})
    with pytest.raises(DataError, match="test: labels '1'"):
        prepared(["neg", "pos"] * 6, test=held)


def test_a_class_label_keeps_its_meaning_whatever_the_order_of_the_given_names() -> None:
    """Splits whose classes are numbered apart were scored by number (ultralytics/ultralytics 13936)."""

    def split(texts: list[str], labels: list[int], names: list[str]) -> Dataset:
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        return Dataset.from_dict({"text": texts, "label": labels}, features=features)

    train = split(list("abcdefgh"), [0, 1] * 4, ["neg", "pos"])
    test = split(["t"], [0], ["pos", "neg"])
    source = LoadedSource(DatasetDict({"train": train, "test": test}))
    for names in (None, ["pos", "neg"], ["neg", "pos"]):
        result = prepare(source, text_columns=["text"], label_column="label", label_names=names)
        assert result.task.label_names[result.splits["test"]["label"][0]] == "pos"
        rows = {row["text"]: result.task.label_names[row["label"]] for row in result.splits["train"]}
        assert all(name == ("neg", "pos")["abcdefgh".index(text) % 2] for text, name in rows.items())
    renamed = prepare(
        LoadedSource(DatasetDict({"train": train})), text_columns=["text"], label_column="label",
        label_names=["bad", "good"],
    )  # fmt: skip
    assert renamed.task.label_names == ("bad", "good")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([["a"], ["a", "b"]], "multi-label-classification, which is not offered yet"),
        (["['a']", '["a", "b"]'], "multi-label-classification, which is not offered yet"),
        ([{"a": 1}, {"a": 2}], "holds nested values, no classes"),
        ([b"a", b"b"], "holds binary, no classes"),
        ([0.5, 1.5], "are no classes"),
        ([None, 1], "is empty in 6 of 12 rows"),
        ([float("nan"), 1.0], "is empty in 6 of 12 rows"),
        (["", "a"], "is empty in 6 of 12 rows"),
        (["\u00a0", "a"], "is empty in 6 of 12 rows"),
    ],
)
def test_what_is_no_class_is_refused(labels: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        prepared(labels * 6)


def test_scores_written_as_text_are_no_classes_unless_they_are_listed() -> None:
    scores = [f"{number / 7:.3f}" for number in range(30)]
    with pytest.raises(DataError, match=r"are no classes.*list them in task\.label_names"):
        prepared(scores * 4)
    assert len(prepared(scores * 4, names=scores).task.label_names) == 30


def test_a_text_column_may_be_named_label() -> None:
    rows = Dataset.from_dict({"label": [f"text {n}" for n in range(20)], "mood": ["a", "b"] * 10})
    source = LoadedSource(DatasetDict({"train": rows}))
    result = prepare(source, text_columns=["label"], label_column="mood")
    texts = [text for split in result.splits.values() for text in split["label"]]
    assert sorted(texts) == sorted(rows["label"][:])


def test_names_that_look_alike_are_told() -> None:
    names = ["Positive", "positive ", "caf\u00e9", "cafe\u0301", "other"]
    assert look_alikes(names) == [["Positive", "positive "], ["caf\u00e9", "cafe\u0301"]]
    assert prepared(["Pos", "pos"] * 6).report["look_alike_labels"] == [["Pos", "pos"]]
