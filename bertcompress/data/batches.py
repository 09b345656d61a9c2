"""Length-bucketed batches: rows of about one length go together, so that little of a batch is padding."""

from __future__ import annotations

import random

from bertcompress.data.tokenized import TokenizedSplit

POOL_BATCHES = 50


def epoch_batches(split: TokenizedSplit, batch_size: int, rng: random.Random | None) -> list[list[int]]:
    """Row numbers of every batch of one epoch; each row comes once, and one batch may be smaller.

    With `rng`, rows are shuffled, sorted by length inside pools of 50 batches, and the batches shuffled;
    without it, all rows are in order of length, always the same.
    """
    rows = list(range(len(split)))
    if rng is None:
        return _cut(_by_length(split, rows), batch_size)
    rng.shuffle(rows)
    batches = [
        batch
        for pool in _cut(rows, POOL_BATCHES * batch_size)
        for batch in _cut(_by_length(split, pool), batch_size)
    ]
    rng.shuffle(batches)
    return batches


def _by_length(split: TokenizedSplit, rows: list[int]) -> list[int]:
    return sorted(rows, key=split.lengths.__getitem__)


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
