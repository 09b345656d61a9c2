"""Length-bucketed batches: rows of about one length go together, so that little of a batch is padding."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bertcompress.data.random_state import random_state, set_random_state

POOL_BATCHES = 50


class BatchSource(Protocol):
    """What can be trained on: N rows that come in batches (a TokenizedSplit, or another kind of data)."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray:
        """Size of each row, (N,): rows of about one size share a batch."""

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The rows of these numbers as tensors, (B, ...) each."""


def epoch_batches(split: BatchSource, batch_size: int, rng: random.Random | None) -> list[list[int]]:
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


def _by_length(split: BatchSource, rows: list[int]) -> list[int]:
    return sorted(rows, key=split.lengths.__getitem__)


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def in_row_order(values: Sequence[Tensor], batches: Sequence[Sequence[int]]) -> Tensor:
    """Return the values (B, ...) of all batches as one tensor (N, ...), each at the number of its row."""
    order = torch.tensor([row for rows in batches for row in rows])
    return torch.cat(list(values))[torch.argsort(order)]


class EndlessBatches:
    """Length-bucketed index lists, epoch after epoch, shuffled anew each time; `rng` is theirs alone."""

    def __init__(self, split: BatchSource, batch_size: int, rng: random.Random) -> None:
        self._split, self._batch_size, self._rng = split, batch_size, rng
        self._start_of_epoch = random_state(rng)
        self._epoch: list[list[int]] = []
        self._taken = 0

    def __next__(self) -> list[int]:
        if self._taken == len(self._epoch):
            self._shuffle()
        self._taken += 1
        return self._epoch[self._taken - 1]

    def _shuffle(self) -> None:
        self._start_of_epoch = random_state(self._rng)
        self._epoch, self._taken = epoch_batches(self._split, self._batch_size, self._rng), 0

    def state(self) -> dict[str, Any]:
        return {"start_of_epoch": self._start_of_epoch, "taken": self._taken}

    def restore(self, state: Mapping[str, Any]) -> None:
        set_random_state(self._rng, state["start_of_epoch"])
        if state["taken"]:
            self._shuffle()
        self._taken = state["taken"]
