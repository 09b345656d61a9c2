"""Carved splits are honest: what validation asks stands nowhere in train; what belongs together stays so."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.data.carving import carve
from bertcompress.data.leaks import count_leaks
from bertcompress.data.notices import notices
from bertcompress.data.overlap import containments, near_pairs, unique_streams, words_of
from bertcompress.data.prepare import prepare
from bertcompress.data.rows import Row
from bertcompress.errors import DataError
from bertcompress.sources.data import LoadedSource

WORD = st.sampled_from(["a", "b", "c", "d", "e", "f", "g"])
SENTENCES = st.lists(
    st.lists(WORD, min_size=1, max_size=12).map(" ".join), min_size=3, max_size=25, unique=True
)
FRACTIONS = {"test": 0.2, "validation": 0.2}


def rows_of(texts: Sequence[str]) -> list[Row]:
    """Rows of two classes; the class hangs on the text alone."""
    return [Row((text,), len(text) % 2) for text in texts]


def phrases(num_sentences: int, seed: int = 0) -> list[str]:
    """A corpus of sentences and of their phrases, as the Stanford Sentiment Treebank is."""
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(400)]
    sentences = [rng.choices(words, k=rng.randint(6, 20)) for _ in range(num_sentences)]
    texts = {" ".join(sentence) for sentence in sentences}
    for sentence in sentences:
        for _ in range(8):
            start, end = sorted(rng.sample(range(len(sentence) + 1), 2))
            texts.add(" ".join(sentence[start:end]))
    return sorted(texts)


def stands_in(inner: Sequence[str], outer: Sequence[str]) -> bool:
    return any(
        tuple(outer[at : at + len(inner)]) == tuple(inner) for at in range(len(outer) - len(inner) + 1)
    )


@given(SENTENCES)
def test_containment_is_what_a_search_word_by_word_finds(texts: list[str]) -> None:
    stream, form_of = unique_streams(texts)
    everywhere = np.ones(len(stream), bool)
    found = {
        pair for pairs in containments(stream, everywhere, everywhere) for pair in zip(*pairs, strict=True)
    }
    forms = {form: words_of(text) for text, form in zip(texts, form_of, strict=True)}
    expected = {(a, b) for a in forms for b in forms if a != b and stands_in(forms[a], forms[b])}
    assert found == expected


def test_texts_that_begin_alike_are_not_compared_each_with_each() -> None:
    """With 20,000 beginnings alike, comparing all of them at each place would not fit into memory."""
    texts = ["text number", *(f"text number {number}" for number in range(20_000))]
    stream, form_of = unique_streams(texts)
    everywhere = np.ones(len(stream), bool)
    chunks = containments(stream, everywhere, everywhere)
    inner, outer = (np.concatenate(each) for each in zip(*chunks, strict=True))
    assert set(inner.tolist()) == {int(form_of[0])}
    assert len(set(outer.tolist())) == 20_000


@given(SENTENCES)
def test_nearly_alike_are_texts_that_share_half_of_the_shorter_ones_sequences(texts: list[str]) -> None:
    stream, form_of = unique_streams(texts)
    grams = {
        form: {*zip(*(words_of(text)[at:] for at in range(5)), strict=False)}
        for text, form in zip(texts, form_of, strict=True)
    }
    expected = {
        (a, b) for a in grams for b in grams if a < b and grams[a] and grams[b]
        and len(grams[a] & grams[b]) >= min(len(grams[a]), len(grams[b])) / 2
    }  # fmt: skip
    found = {tuple(sorted(pair)) for pair in zip(*near_pairs(stream), strict=True)}
    assert expected <= found


@given(SENTENCES, st.integers(0, 5))
@settings(deadline=None)
def test_no_carved_row_stands_in_train_or_in_the_other_split(texts: list[str], seed: int) -> None:
    rows = rows_of(texts)
    if min(np.bincount([row.label for row in rows], minlength=2)) < 3:
        return
    carving = carve(rows, FRACTIONS, seed)
    taken = sorted(number for numbers in carving.rows.values() for number in numbers)
    assert taken == list(range(len(rows)))
    for name, numbers in carving.rows.items():
        assert {rows[number].label for number in numbers} == {0, 1}
        if carving.report["taken_apart"] or name == "train":
            continue
        others = [rows[number] for other in carving.rows if other != name for number in carving.rows[other]]
        leaks = count_leaks([rows[number] for number in numbers], others)
        assert leaks["same"] == leaks["contained"] == 0


def test_a_corpus_of_phrases_is_carved_by_its_sentences() -> None:
    rows = rows_of(phrases(300))
    carving = carve(rows, {"validation": 0.1}, seed=0)
    held, train = ([rows[number] for number in carving.rows[name]] for name in ("validation", "train"))
    assert 0.08 < len(held) / len(rows) < 0.12
    assert count_leaks(held, train) == {"same": 0, "contained": 0, "near": 0}
    assert carving.report["kept_in_train"] > 0
    assert carving.report["taken_apart"] == carving.report["dropped"] == 0
    drawn = random.Random(0).sample(range(len(rows)), len(held))
    rest = [row for number, row in enumerate(rows) if number not in set(drawn)]
    assert count_leaks([rows[number] for number in drawn], rest)["contained"] > len(held) / 2


def test_sides_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    rows = rows_of(phrases(60))
    shuffled = random.Random(1).sample(rows, len(rows))

    def texts(rows: Sequence[Row], seed: int) -> dict[str, set[str]]:
        sides = carve(rows, FRACTIONS, seed).rows
        return {name: {rows[number].texts[0] for number in numbers} for name, numbers in sides.items()}

    assert texts(rows, 0) == texts(shuffled, 0) != texts(rows, 1)


def test_many_near_duplicates_are_one_family_however_many_there_are() -> None:
    body = " ".join(f"word{number}" for number in range(40))
    copies = [f"{body} signed by person{number}" for number in range(200)]
    others = [" ".join(f"other{number}x{at}" for at in range(8)) for number in range(800)]
    rows = [Row((text,), number % 2) for number, text in enumerate([*copies, *others])]
    carving = carve(rows, {"validation": 0.1}, seed=0)
    sides = [sum(number < 200 for number in numbers) for numbers in carving.rows.values()]
    assert sorted(sides) == [0, 200]
    drawn = [*copies[:20], *others[:80]]
    leaks = count_leaks(rows_of(drawn), rows_of([*copies[20:], *others[80:]]))
    assert leaks == {"same": 0, "contained": 0, "near": 20}


@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.integers(0, 3))
@settings(deadline=None)
def test_a_group_never_straddles(groups: list[int], seed: int) -> None:
    texts = phrases(len(groups))[: len(groups)]
    rows = [
        Row((text,), number % 2, f"g{group}")
        for number, (text, group) in enumerate(zip(texts, groups, strict=True))
    ]
    carving = carve(rows, FRACTIONS, seed)
    sides = [{rows[number].group for number in numbers} for numbers in carving.rows.values()]
    if not carving.report["taken_apart"]:
        assert not any(one & other for one, other in pairwise([*sides, sides[0]]))
    assert sum(map(len, carving.rows.values())) + carving.report["dropped"] == len(rows)


def test_pairs_belong_together_by_both_texts_in_either_order() -> None:
    def pair(first: str, second: str) -> Row:
        return Row((first, second), len(first + second) % 2)

    question = "is this what the text says"
    rows = [pair(question, f"answer number {number} of them all") for number in range(100)]
    mirrored = [pair(row.texts[1], row.texts[0].upper() + "?") for row in rows]
    carving = carve([*rows, *mirrored], {"validation": 0.2}, seed=0)
    held = set(carving.rows["validation"])
    assert 20 <= len(held) <= 60
    assert all((number in held) == (number + 100 in held) for number in range(100))
    leaks = count_leaks(rows[:10], [*rows[10:], *mirrored[:3]])
    assert leaks == {"same": 3, "near": 0, "shared_text": 7}


def test_a_class_of_which_all_rows_stand_inside_others_still_has_a_row_in_each_split() -> None:
    long = [Row((f"thanks a lot for number {number} of these",), 0) for number in range(40)]
    short = [Row((text,), 1) for text in ("thanks", "thanks a lot", "lot", "for")]
    carving = carve([*long, *short], FRACTIONS, seed=0)
    assert carving.report["taken_apart"] == 2
    both = [*long, *short]
    assert all({both[number].label for number in numbers} == {0, 1} for numbers in carving.rows.values())


def source(texts: Sequence[str], **columns: Sequence[object]) -> LoadedSource:
    labels = [number // 2 % 2 for number in range(len(texts))]
    return LoadedSource(
        DatasetDict({"train": Dataset.from_dict({"text": texts, "label": labels, **columns})})
    )


def test_the_data_report_counts_leaks_and_the_notices_say_them() -> None:
    texts = phrases(40)
    carved = prepare(source(texts), text_columns=["text"], label_column="label")
    assert carved.report["carving"]["contained"] > 0
    assert carved.report["leaks"]["validation_in_train"]["contained"] == 0
    assert any("stand inside others" in notice for notice in notices(carved.report))
    train, test = (
        Dataset.from_dict(source(texts[::2]).splits["train"].to_dict()),
        source(texts[1::2]).splits["train"],
    )
    own = prepare(
        LoadedSource(DatasetDict({"train": train, "test": test})), text_columns=["text"], label_column="label"
    )
    assert own.report["leaks"]["test_in_train"]["contained"] > 10
    assert own.report["rows"]["test"] == len(test)
    assert any(notice.startswith("train gives away") for notice in notices(own.report))


def test_a_group_column_has_to_be_there_and_keeps_its_rows_together() -> None:
    texts = [f"text {number} of a kind{number}" for number in range(60)]
    with pytest.raises(DataError, match=r"data\.group_column: no column 'author'; train has text, label"):
        prepare(source(texts), text_columns=["text"], label_column="label", group_column="author")
    authors = [number // 5 for number in range(60)]
    data = source(texts, author=authors)
    splits = prepare(data, text_columns=["text"], label_column="label", group_column="author").splits
    by_text = dict(zip(texts, authors, strict=True))
    sides = [{by_text[text] for text in split["text"]} for split in splits.values()]
    assert sum(map(len, sides)) == 12
