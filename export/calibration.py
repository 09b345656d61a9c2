"""Rows of the user's data by which int8 files are scaled, and by which it is judged what int8 costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bertcompress.export.heads import same_answers
from bertcompress.export.tokenizer_files import Text
from bertcompress.export.verify import Feed, as_feed, feed_logits


@dataclass(frozen=True)
class Calibration:
    """Batches of rows, and their labels (N,) in the same order; fp32's own answers stand for missing labels.

    `max_drop` is the share of right answers that an int8 file may lose before layers are kept in fp32. Where
    answers are `numbers` (see heads), a right one is near that of fp32. Rows that were `drawn` from the
    vocabulary tell whether answers change, and not in which range activations of real texts lie.
    """

    feeds: tuple[Feed, ...]
    labels: np.ndarray | None = None
    max_drop: float = 0.01
    numbers: bool = False
    drawn: bool = False

    @classmethod
    def from_batches(
        cls, batches: Iterable[Mapping[str, Tensor]], labels: np.ndarray | None = None, max_drop: float = 0.01
    ) -> Calibration:
        """The batches of the data path as what a graph takes."""
        return cls(tuple(as_feed(batch) for batch in batches), labels, max_drop)

    @property
    def num_rows(self) -> int:
        """Rows of all batches."""
        return sum(len(feed["input_ids"]) for feed in self.feeds)

    def logits(self, path: Path) -> np.ndarray:
        """A file's logits (N, C) on all rows."""
        return feed_logits(path, self.feeds)

    def drop(self, logits: np.ndarray, fp32_logits: np.ndarray) -> float:
        """The share of right answers that is lost against fp32, both (N, C); negative where it is gained."""
        if self.labels is None:
            return 1 - float(same_answers(logits, fp32_logits, numbers=self.numbers).mean())
        answers, fp32_answers = logits.argmax(-1), fp32_logits.argmax(-1)
        return float((fp32_answers == self.labels).mean() - (answers == self.labels).mean())


def batches_of(
    texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, max_length: int, batch_size: int = 32
) -> list[Mapping[str, Tensor]]:
    """Return texts, or pairs of them, as padded batches (B, T), cut at `max_length` tokens."""
    batches = []
    for start in range(0, len(texts), batch_size):
        rows = texts[start : start + batch_size]
        parts = [list(rows)] if isinstance(rows[0], str) else [list(part) for part in zip(*rows, strict=True)]
        batches.append(
            tokenizer(*parts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        )
    return batches


def random_calibration(vocab_size: int, max_length: int, *, seed: int = 0) -> Calibration:
    """Rows of random words, for files that are only timed: scales are any, and no layer is kept in fp32."""
    shape = (2, min(16, max_length))
    ids = np.random.default_rng(seed).integers(0, vocab_size, shape, dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return Calibration((feed,), max_drop=np.inf)


def logit_change(logits: np.ndarray, fp32_logits: np.ndarray) -> float:
    """Root mean square of what a file's logits (N, C) are off those of fp32."""
    return float(np.sqrt(np.mean((logits - fp32_logits) ** 2)))
