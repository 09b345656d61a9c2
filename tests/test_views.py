"""Laws of views: special tokens and types stay in place, nothing is too long, words give way to near ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import WORDS, word_tokenizer

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.data.views import NO_LABEL, Neighbours, ViewMaker, ViewShares, find_neighbours

CLS, SEP, FIRST = 2, 3, 4
VOCABULARY = 40
NOTHING = ViewShares(replaced=0, deleted=0, phrases=0, cropped=0, joined=0, recombined=0)


def split_of(rows: list[list[list[int]]]) -> TokenizedSplit:
    """Rows of one or two texts as [CLS] text [SEP] (text [SEP])."""
    ids, types = [], []
    for texts in rows:
        ids.append(np.array([CLS, *(token for text in texts for token in (*text, SEP))], dtype=np.int32))
        lengths = [len(text) + 1 for text in texts]
        types.append(np.repeat(np.arange(len(texts), dtype=np.int32), [lengths[0] + 1, *lengths[1:]]))
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return TokenizedSplit(np.concatenate(ids), np.concatenate(types), offsets, np.zeros(len(rows), np.int64))


def near_words() -> Neighbours:
    """Every word's near words are the two after it; the last ten tokens are pieces."""
    table = (np.arange(VOCABULARY)[:, None] + np.array([1, 2])) % VOCABULARY
    words = np.arange(VOCABULARY)
    return Neighbours(table.astype(np.int32), (words >= FIRST) & (words < 28), words >= 30)


texts = st.lists(st.integers(FIRST, VOCABULARY - 1), min_size=1, max_size=12)
tables = st.integers(1, 2).flatmap(
    lambda number: st.lists(st.lists(texts, min_size=number, max_size=number), min_size=1, max_size=5)
)
shares = st.builds(
    ViewShares,
    replaced=st.floats(0, 1),
    deleted=st.floats(0, 1),
    phrases=st.floats(0, 0.25),
    cropped=st.floats(0, 0.25),
    joined=st.floats(0, 0.25),
    recombined=st.floats(0, 0.25),
)


@given(tables, shares, st.integers(0, 99))
@settings(max_examples=200)
def test_views_are_rows_of_the_same_form(rows: list[list[list[int]]], chosen: ViewShares, seed: int) -> None:
    split = split_of(rows)
    make = ViewMaker(split, near_words(), chosen, [CLS, SEP], max_length=20)
    views = make(np.random.default_rng(seed))
    assert len(views) == len(split)
    assert (views.labels == NO_LABEL).all()
    assert (views.lengths <= max(20, max(split.lengths))).all()
    for row in range(len(views)):
        cut = slice(views.offsets[row], views.offsets[row + 1])
        ids, types = views.input_ids[cut], views.token_type_ids[cut]
        number = len(rows[row])
        assert ids[0] == CLS
        assert ids[-1] == SEP
        assert (ids == SEP).sum() == number
        assert len(ids) >= 1 + 2 * number  # no text is empty
        assert types[-1] == number - 1
        assert (np.diff(types) >= 0).all()


@given(tables, st.integers(0, 9))
def test_without_shares_a_view_is_its_row_and_one_seed_gives_one_view(
    rows: list[list[list[int]]], seed: int
) -> None:
    split = split_of(rows)
    same = ViewMaker(split, near_words(), NOTHING, [CLS, SEP], max_length=64)(np.random.default_rng(seed))
    assert np.array_equal(same.input_ids, split.input_ids)
    assert np.array_equal(same.token_type_ids, split.token_type_ids)
    make = ViewMaker(split, near_words(), ViewShares(), [CLS, SEP], max_length=64)
    first, second = (make(np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first.input_ids, second.input_ids)


def test_only_whole_words_give_way_and_only_to_near_ones() -> None:
    row = [[4, 5, 35, 6, 29, 7]]  # 5 has a piece after it, 29 is no word, 35 is a piece
    make = ViewMaker(split_of([row]), near_words(), replace(NOTHING, replaced=1.0), [CLS, SEP], max_length=64)
    seen = np.stack([make(np.random.default_rng(seed)).input_ids for seed in range(50)])[:, 1:-1]
    assert (seen[:, [1, 2, 4]] == [5, 35, 29]).all()
    for column, word in ((0, 4), (3, 6), (5, 7)):
        assert set(seen[:, column]) == {word + 1, word + 2}


def test_recombined_pairs_keep_the_first_text() -> None:
    split = split_of([[[10, 11], [20, 21]], [[12, 13], [22, 23]]])
    make = ViewMaker(split, near_words(), replace(NOTHING, recombined=1.0), [CLS, SEP], max_length=64)
    seen = {tuple(make(np.random.default_rng(seed)).input_ids[:7].tolist()) for seed in range(30)}
    assert seen == {(CLS, 10, 11, SEP, 20, 21, SEP), (CLS, 10, 11, SEP, 22, 23, SEP)}


def test_neighbours_are_near_whole_words() -> None:
    tokenizer = word_tokenizer([*WORDS[:4], "great", "good", "fine", "bad", "poor", "2", "!"])
    ids = {
        word: tokenizer.convert_tokens_to_ids(word)
        for word in ("great", "good", "fine", "bad", "poor", "2", "!")
    }
    embedding = np.random.default_rng(0).normal(size=(len(tokenizer), 4)).astype(np.float32) * 0.01
    for word in ("great", "good", "fine"):
        embedding[ids[word]] += [1, 0, 0, 0]
    for word in ("bad", "poor"):
        embedding[ids[word]] += [0, 1, 0, 0]
    found = find_neighbours(embedding, tokenizer, [ids["great"], ids["bad"], ids["2"]], num_neighbours=2)
    assert set(found.table[ids["great"]]) == {ids["good"], ids["fine"]}
    assert ids["poor"] in found.table[ids["bad"]]
    assert found.replaceable[[ids["great"], ids["bad"], ids["good"], ids["2"], ids["!"]]].tolist() == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_vocabulary_of_few_words_replaces_none() -> None:
    tokenizer = word_tokenizer()
    found = find_neighbours(np.ones((len(tokenizer), 4)), tokenizer, range(len(tokenizer)), num_neighbours=9)
    assert not found.replaceable.any()


@pytest.mark.parametrize("room", [2, 3, 5, 9])
def test_the_longer_text_of_a_pair_is_cut_first(room: int) -> None:
    split = split_of([[[4, 5, 6, 7, 8, 9, 10], [11, 12]]])
    make = ViewMaker(split, near_words(), NOTHING, [CLS, SEP], max_length=room + 3)
    ids = make(np.random.default_rng(0)).input_ids
    first, second = ids[1 : ids.tolist().index(SEP)], ids[ids.tolist().index(SEP) + 1 : -1]
    assert len(first) + len(second) == room
    assert abs(len(first) - len(second)) <= 1 or len(second) == 2
