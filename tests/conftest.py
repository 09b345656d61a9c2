"""Small things that many tests build on: a 2-layer, 32-wide BERT that fits in memory and in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import BertConfig, BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit


@pytest.fixture
def tiny_bert_config() -> BertConfig:
    """A BERT of 2 layers, width 32, 4 heads of size 8, feed-forward 64, 2 labels and no dropout."""
    return BertConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
    )


@pytest.fixture
def tiny_bert(tiny_bert_config: BertConfig) -> BertForSequenceClassification:
    """The stock classifier of `tiny_bert_config`, in eval mode, its weights drawn from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(tiny_bert_config).eval()


@pytest.fixture
def padded_batch() -> Callable[..., dict[str, torch.Tensor]]:
    """Make a batch of random ids, right-padded to the longest of `lengths`: batch([5, 9], vocab_size=97)."""

    def make(lengths: list[int], *, vocab_size: int = 97, seed: int = 0) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (len(lengths), max(lengths))  # (B, T)
        kept = torch.arange(shape[1])[None, :] < torch.tensor(lengths)[:, None]
        ids = torch.randint(1, vocab_size, shape, generator=generator) * kept
        return {
            "input_ids": ids,
            "attention_mask": kept.long(),
            "token_type_ids": torch.zeros(shape, dtype=torch.long),
        }

    return make


@pytest.fixture
def random_split() -> TokenizedSplit:
    """37 rows of 3 to 12 random ids; the label says whether the first id is a small one."""
    generator = np.random.default_rng(0)
    offsets = np.cumsum([0, *generator.integers(3, 13, size=37)], dtype=np.int64)
    ids = generator.integers(1, 97, size=offsets[-1], dtype=np.int32)
    return TokenizedSplit(ids, np.zeros_like(ids), offsets, (ids[offsets[:-1]] < 48).astype(np.int64))


def not_found(message: str) -> RepositoryNotFoundError:
    """What the Hub's client raises for a name that it does not know."""
    response: Any = SimpleNamespace(headers={}, request=None)
    return RepositoryNotFoundError(message, response=response)
