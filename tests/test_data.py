"""Data: splits never share a text, padding and order never change a row, and bad data is refused clearly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from conftest import not_found
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, disable_caching
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.data.prepare import PreparedData, prepare
from bertcompress.errors import DataError
from bertcompress.sources import hub_data
from bertcompress.sources.data import LoadedSource, load_source
from bertcompress.sources.data_files import local_files

disable_caching()

ROWS = [(f"a film about {number} things", "pos" if number % 2 else "neg") for number in range(40)]


def csv_text(rows: Sequence[tuple[object, object]], header: str = "text,label") -> str:
    return "\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n"


def split_of(texts: Sequence[str], labels: Sequence[Any]) -> Dataset:
    return Dataset.from_dict({"text": list(texts), "label": list(labels)})


def prepared(splits: dict[str, Dataset], **options: Any) -> PreparedData:
    return prepare(LoadedSource(DatasetDict(splits)), text_columns=["text"], label_column="label", **options)


# What is wrong -> (file name, its content, words of the message).
BAD: dict[str, tuple[str, str | bytes, list[str]]] = {
    "empty file": ("d.csv", "", ["d.csv", "empty"]),
    "header only": ("d.csv", "text,label\n", ["d.csv", "no rows"]),
    "no text column": ("d.csv", csv_text(ROWS, "review,label"), ["no column 'text'", "review, label"]),
    "no label column": ("d.csv", csv_text(ROWS, "text,sentiment"), ["no column 'label'", "sentiment"]),
    "one class": ("d.csv", csv_text([(text, "pos") for text, _ in ROWS]), ["one class only (pos)"]),
    "empty text": ("d.csv", csv_text([*ROWS, ("", "pos")]), ["'text' is empty in 1 of 41 rows (line 42)"]),
    "empty label": ("d.csv", csv_text([("fine", ""), *ROWS]), ["'label' is empty in 1 of 41 rows (line 2)"]),
    "numbers as text": (
        "d.jsonl",
        "\n".join(json.dumps({"text": n, "label": n % 2}) for n in range(20)),
        ["'text' of train holds int64, not text"],
    ),
    "labels are measurements": (
        "d.csv",
        csv_text([(t, n / 7) for n, (t, _) in enumerate(ROWS)]),
        ["no classes"],
    ),
    "class of one row": (
        "d.csv",
        csv_text([*ROWS, ("odd one", "meh")]),
        ["class 'meh' has 1 different texts"],
    ),
    "broken json": ("d.jsonl", '{"text": "a", "label"\n{', ["d.jsonl", "not readable as jsonl"]),
    "ragged csv": ("d.csv", "text,label\na,b\nc,d,e,f\n", ["d.csv, line 3", "it has 4 fields"]),
    "not UTF-8": ("d.csv", b"text,label\n\xff\xfe\xfa,pos\n", ["d.csv, line 2", "byte 0xff", "iconv"]),
    "not parquet": ("d.parquet", "text,label\n", ["d.parquet", "not readable as parquet"]),
    "unknown kind": ("d.xlsx", "text", ["d.xlsx", ".csv"]),
    "nested text": (
        "d.jsonl",
        "\n".join(json.dumps({"text": [text], "label": label}) for text, label in ROWS),
        ["'text' of train holds nested values, not text"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_gives_one_clear_message(tmp_path: Path, case: str) -> None:
    name, content, words = BAD[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        prepare(load_source(str(path)), text_columns=["text"], label_column="label")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("source", "files", "where", "words"),
    [
        ("missing.csv", None, {}, "no such file or folder"),
        ("package:no-such-package", None, {}, "pip install no-such-package"),
        ("FOLDER", {"train": "tain.csv"}, {}, "'tain.csv' is not there; it holds one.csv, two.csv"),
        ("FOLDER", {"test": "one.csv"}, {}, "data.files.train: not given"),
        ("FOLDER", None, {}, "no file is named train"),
        ("FOLDER/one.csv", {"train": "one.csv"}, {}, "is one file"),
        ("FOLDER/one.csv", None, {"origin": "web"}, "no such column"),
        ("FOLDER/one.csv", None, {"label": "so-so"}, "no row .* has 'so-so'; found neg, pos"),
    ],
)
def test_a_source_that_is_not_there_is_refused(
    tmp_path: Path, source: str, files: dict[str, str] | None, where: dict[str, str], words: str
) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(csv_text(ROWS), encoding="utf-8")
    with pytest.raises(DataError, match=words):
        load_source(source.replace("FOLDER", str(tmp_path)), files, where)


def test_two_files_for_one_split_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "valid.csv"):
        (tmp_path / name).write_text(csv_text(ROWS), encoding="utf-8")
    with pytest.raises(DataError, match="could each be validation"):
        load_source(str(tmp_path))


def test_every_kind_of_file_reads_the_same(tmp_path: Path) -> None:
    texts, labels = zip(*ROWS, strict=True)
    rows = split_of(texts, labels)
    rows.to_csv(tmp_path / "d.csv", index=False)
    rows.to_csv(tmp_path / "d.tsv", index=False, sep="\t")
    rows.to_json(tmp_path / "d.jsonl")
    rows.to_parquet(tmp_path / "d.parquet")
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        read = load_source(str(tmp_path / f"d.{suffix}"))
        assert list(read.splits) == ["train"]
        assert read.splits["train"].to_dict() == rows.to_dict()


def test_words_that_look_like_missing_values_stay_words(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(csv_text([("NA", "pos"), ("null", "neg")]), encoding="utf-8")
    assert load_source(str(tmp_path / "d.csv")).splits["train"]["text"][:] == ["NA", "null"]


def test_a_folder_gives_its_splits_and_files_may_rename_them(tmp_path: Path) -> None:
    for name, count in (("train", 30), ("dev", 6)):
        (tmp_path / f"{name}.csv").write_text(csv_text(ROWS[:count]), encoding="utf-8")
    found = load_source(str(tmp_path))
    assert {name: len(rows) for name, rows in found.splits.items()} == {"train": 30, "validation": 6}
    files = {"train": ["train.csv", "dev.csv"], "test": "dev"}
    renamed = load_source(str(tmp_path), files)
    assert {name: len(rows) for name, rows in renamed.splits.items()} == {"train": 36, "test": 6}
    assert [path.name for path in local_files(str(tmp_path), files)] == ["train.csv", "dev.csv", "dev.csv"]


def test_where_keeps_the_rows_that_match(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(csv_text(ROWS), encoding="utf-8")
    kept = load_source(str(tmp_path / "d.csv"), where={"label": "pos"}).splits["train"]
    assert set(kept["label"]) == {"pos"}
    assert len(kept) == 20


def test_a_hub_id_gives_its_splits_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(name: str, config: str | None) -> DatasetDict:
        asked.append((name, config))
        return DatasetDict({"train": split_of("ab", "xy"), "validation": split_of("c", "x")})

    monkeypatch.setattr(hub_data, "load_dataset", load)
    monkeypatch.setattr(hub_data, "hub_answers", lambda kind, name: True)
    assert set(load_source("owner/name").splits) == {"train", "validation"}
    renamed = load_source("owner/name:config", {"train": ("train",), "test": "validation"})
    assert renamed.splits["test"]["text"][:] == ["c"]
    assert asked == [("owner/name", None), ("owner/name", "config")]
    assert local_files("owner/name") == []
    with pytest.raises(DataError, match="'dev' is no split of it; it has train, validation"):
        load_source("owner/name", {"train": "train", "test": "dev"})
    with pytest.raises(DataError, match=r"files\.train: not given"):
        load_source("owner/name", {"test": "train"})


def test_a_hub_that_does_not_answer_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    for method in ("hf_hub_download", "dataset_info", "repo_info"):
        monkeypatch.setattr(HfApi, method, lambda *_, name=method, **__: asked.append(name))
    monkeypatch.setattr(hub_data, "hub_answers", lambda kind, name: False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DataError, match="not loadable from the Hub"):
        load_source("owner/name")
    assert asked == []
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_name_that_the_hub_does_not_know_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(kind: str, name: str) -> bool:
        raise not_found(f"{kind} {name}")

    monkeypatch.setattr(hub_data, "hub_answers", unknown)
    with pytest.raises(DataError, match="the Hub has no data set of that name"):
        load_source("owner/name")


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.25, 0.4]))
def test_splits_share_no_text_and_lose_none(seed: int, fraction: float) -> None:
    texts, labels = zip(*ROWS, strict=True)
    fractions = {"validation": fraction, "test": fraction}
    result = prepared({"train": split_of(texts, labels)}, seed=seed, fractions=fractions)
    found = {name: set(split["text"]) for name, split in result.splits.items()}
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == len(ROWS)
    for split in result.splits.values():
        assert set(split["label"]) == {0, 1}


def test_the_same_seed_carves_the_same_rows_and_another_does_not() -> None:
    texts, labels = zip(*ROWS, strict=True)
    source = {"train": split_of(texts, labels)}
    first, again, other = (prepared(source, seed=seed).splits["test"]["text"][:] for seed in (0, 0, 1))
    assert first == again != other


def test_duplicates_are_dropped_from_train_first() -> None:
    splits = {
        "train": split_of(["a", "a", "b", "c", "d", "e ", "f"], "xxyxyxy"),
        "validation": split_of(["c", "d", "v", "v", "w"], "xyxxy"),
        "test": split_of(["b", "d", "t", "t"], "xyxx"),
    }
    result = prepared(splits)
    assert {name: split["text"][:] for name, split in result.splits.items()} == {
        "train": ["a", "e", "f"],
        "validation": ["c", "v", "v", "w"],
        "test": ["b", "d", "t", "t"],
    }
    assert result.report == {
        "files": [],
        "rows": {"train": 3, "validation": 4, "test": 4},
        "carved": [],
        "carving": {},
        "leaks": {
            "validation_in_train": {"same": 0, "contained": 0, "near": 0},
            "test_in_train": {"same": 0, "contained": 0, "near": 0},
            "test_in_validation": {"same": 0, "contained": 0, "near": 0},
        },
        "duplicates_dropped": {"test": 0, "validation": 1, "train": 4},
        "conflicting_duplicates": 1,
        "look_alike_labels": [],
    }


def test_limits_take_a_seeded_sample() -> None:
    texts, labels = zip(*ROWS, strict=True)
    limits = {"train": 10, "validation": 3, "test": 2}
    first, again = (prepared({"train": split_of(texts, labels)}, seed=3, max_rows=limits) for _ in range(2))
    assert first.report["rows"] == limits
    assert first.splits["train"]["text"][:] == again.splits["train"]["text"][:]
    with pytest.raises(DataError, match="one class only"):
        prepared({"train": split_of(texts, labels)}, max_rows={"train": 1})


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        ([1, 0], None, (("0", "1"), [1, 0])),
        ([1.0, 0.0], None, (("0", "1"), [1, 0])),
        (["b", "a"], None, (("a", "b"), [1, 0])),
        ([10, 9], None, (("9", "10"), [1, 0])),
        ([1, 0], ("no", "yes"), (("no", "yes"), [1, 0])),
        (["yes", "no"], ("no", "yes"), (("no", "yes"), [1, 0])),
        (["2", "1"], ("1", "2"), (("1", "2"), [1, 0])),
    ],
)
def test_labels_become_class_ids(
    values: list[Any], names: tuple[str, ...] | None, expected: tuple[tuple[str, ...], list[int]]
) -> None:
    texts = ["first", "second", "third", "fourth", "fifth", "sixth"]
    rows = split_of(texts, values * 3)
    held = {"validation": split_of(["v"], values[:1]), "test": split_of(["t"], values[:1])}
    result = prepared({"train": rows, **held}, label_names=names)
    assert result.task.label_names == expected[0]
    assert result.splits["train"]["label"][:] == expected[1] * 3


def test_class_labels_of_the_hub_are_ids_even_where_names_are_numbers() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["1", "2"])})
    rows = Dataset.from_dict({"text": list("abcdef"), "label": [0, 1] * 3}, features=features)
    result = prepared({"train": rows, "validation": rows.select([0]), "test": rows.select([1])})
    assert result.task.label_names == ("1", "2")
    assert result.splits["test"]["label"][:] == [1]


@pytest.mark.parametrize(
    ("test_labels", "names", "words"),
    [
        ([-1, -1], None, "labels '-1' .*kept secret"),
        ([0, 2], None, r"test: labels '2' \(1 rows\) are not among the 2 classes 0, 1"),
        ([0, 1], ("a", "b", "c"), "no row of class c"),
    ],
)
def test_labels_that_do_not_fit_are_told(
    test_labels: list[int], names: tuple[str, ...] | None, words: str
) -> None:
    splits = {"train": split_of("abcdef", [0, 1] * 3), "test": split_of("xy", test_labels)}
    with pytest.raises(DataError, match=words):
        prepared(splits, label_names=names)


def test_column_problems_of_all_splits_come_at_once() -> None:
    splits = {"train": split_of("ab", [0, 1]), "test": Dataset.from_dict({"text": ["x"], "y": [0]})}
    with pytest.raises(DataError, match="3 problems"):
        prepare(LoadedSource(DatasetDict(splits)), text_columns=["text", "other"], label_column="text")
