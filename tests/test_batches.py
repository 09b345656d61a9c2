"""Tokenised rows and their batches: padding and order never change a row, and each comes once an epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from bertcompress.data.batches import epoch_batches, in_row_order
from bertcompress.data.tokenized import TokenizedSplit, tokenize
from bertcompress.tasks.text_classification import TextClassification

TASK = TextClassification(("text",), "label", ("neg", "pos"))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(20))]
    rust = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    rust.pre_tokenizer = Whitespace()
    rust.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def words_split(lengths: Sequence[int]) -> Dataset:
    texts = [" ".join(f"w{position % 20}" for position in range(length)) for length in lengths]
    return Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(len(lengths))]})


def test_a_batch_is_what_the_tokenizer_makes(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = words_split([5, 1, 30, 8])
    split = tokenize(rows, tokenizer, TASK, max_length=16)
    expected = tokenizer(
        [rows["text"][index] for index in (2, 0)],
        truncation=True,
        max_length=16,
        padding=True,
        return_tensors="pt",
    )
    batch = split.batch([2, 0])
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], expected[name]), name
    assert batch["labels"].tolist() == [0, 0]
    assert batch["index"].tolist() == [2, 0]
    assert len(split) == 4


def test_pairs_are_told_apart_by_token_types(tokenizer: PreTrainedTokenizerFast) -> None:
    task = TextClassification(("a", "b"), "label", ("no", "yes"))
    rows = Dataset.from_dict({"a": ["w1 w2"], "b": ["w3"], "label": [1]})
    assert tokenize(rows, tokenizer, task, 16).batch([0])["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]


def test_saved_and_loaded_is_equal(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    split = tokenize(words_split([3, 4, 5]), tokenizer, TASK, max_length=16)
    split.save(tmp_path / "split.safetensors")
    loaded = TokenizedSplit.load(tmp_path / "split.safetensors")
    for name in ("input_ids", "token_type_ids", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(split, name))
        assert getattr(loaded, name).dtype == getattr(split, name).dtype
    assert loaded.pad_token_id == split.pad_token_id


def lengths_only(lengths: Sequence[int]) -> TokenizedSplit:
    flat = np.zeros(sum(lengths), dtype=np.int32)
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    return TokenizedSplit(flat, flat, offsets, np.zeros(len(lengths), dtype=np.int64))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=300), st.integers(1, 9), st.none() | st.integers(0, 99)
)
def test_every_row_comes_once_an_epoch(lengths: list[int], batch_size: int, seed: int | None) -> None:
    rng = None if seed is None else random.Random(seed)
    batches = epoch_batches(lengths_only(lengths), batch_size, rng)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    assert len(batches) == -(-len(lengths) // batch_size)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 9), st.integers(0, 99))
def test_what_is_computed_in_batches_comes_back_in_the_order_of_rows(
    lengths: list[int], batch_size: int, seed: int
) -> None:
    batches = epoch_batches(lengths_only(lengths), batch_size, random.Random(seed))
    computed = [torch.tensor([[float(lengths[row]), float(row)] for row in rows]) for rows in batches]
    expected = torch.tensor([[float(length), float(row)] for row, length in enumerate(lengths)])
    assert torch.equal(in_row_order(computed, batches), expected)


def test_bucketed_batches_hold_little_padding_and_change_from_epoch_to_epoch() -> None:
    lengths = [random.Random(row).randint(4, 64) for row in range(2000)]
    split, rng = lengths_only(lengths), random.Random(0)
    first, second = epoch_batches(split, 32, rng), epoch_batches(split, 32, rng)
    assert first != second
    padded = sum(max(lengths[row] for row in batch) * len(batch) for batch in first)
    assert padded < 1.1 * sum(lengths)
    assert first == epoch_batches(split, 32, random.Random(0))


def test_metrics_match_their_definitions() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], dtype=np.float32)
    metrics = TASK.evaluate(logits, np.array([0, 1, 1]))
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["f1"] == pytest.approx(2 / 3)
    expected = np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(3))])
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert TASK.num_labels == 2
    assert TASK.metric_name == "accuracy"
