"""A split, tokenised once: all ids in one flat array, cut by offsets, so that a batch copies a few slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bertcompress.tasks.text_classification import TextClassification

TOKENIZER_CHUNK = 1000  # rows


@dataclass(frozen=True)
class TokenizedSplit:
    """N tokenised rows; row i is `input_ids[offsets[i]:offsets[i + 1]]`.

    input_ids and token_type_ids are flat int32 of one length, offsets int64 (N + 1,), labels int64 (N,).
    Short rows of a batch are filled on the `padding_side`, "right" or "left", with `pad_token_id`.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    pad_token_id: int = 0
    padding_side: str = "right"

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, (N,), special tokens included."""
        return np.diff(self.offsets)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The rows as int64 tensors, padded to the longest of them.

        input_ids, attention_mask, token_type_ids (B, T); labels and index, the rows' numbers, (B,).
        """
        shape = (len(indices), int(self.lengths[list(indices)].max()))  # (B, T)
        input_ids = np.full(shape, self.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        token_type_ids = np.zeros(shape, dtype=np.int64)
        for row, index in enumerate(indices):
            cut = slice(self.offsets[index], self.offsets[index + 1])
            length = int(self.lengths[index])
            place = slice(shape[1] - length, None) if self.padding_side == "left" else slice(length)
            input_ids[row, place] = self.input_ids[cut]
            attention_mask[row, place] = 1
            token_type_ids[row, place] = self.token_type_ids[cut]
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "token_type_ids": torch.from_numpy(token_type_ids),
            "labels": torch.from_numpy(self.labels[list(indices)]),
            "index": torch.tensor(list(indices), dtype=torch.int64),
        }

    def select(self, rows: Sequence[int]) -> TokenizedSplit:
        """A split of the given rows, in the given order."""
        cuts = [slice(self.offsets[row], self.offsets[row + 1]) for row in rows]
        return TokenizedSplit(
            input_ids=np.concatenate([self.input_ids[cut] for cut in cuts]),
            token_type_ids=np.concatenate([self.token_type_ids[cut] for cut in cuts]),
            offsets=np.cumsum([0, *(self.lengths[row] for row in rows)], dtype=np.int64),
            labels=self.labels[list(rows)],
            pad_token_id=self.pad_token_id,
            padding_side=self.padding_side,
        )

    @classmethod
    def joined(cls, splits: Sequence[TokenizedSplit]) -> TokenizedSplit:
        """Return the rows of all splits, one split after the other."""
        lengths = np.concatenate([split.lengths for split in splits])
        return cls(
            input_ids=np.concatenate([split.input_ids for split in splits]),
            token_type_ids=np.concatenate([split.token_type_ids for split in splits]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            labels=np.concatenate([split.labels for split in splits]),
            pad_token_id=splits[0].pad_token_id,
        )

    def save(self, path: Path) -> None:
        """Write the arrays as one safetensors file; the folder exists."""
        arrays = {
            "input_ids": self.input_ids,
            "token_type_ids": self.token_type_ids,
            "offsets": self.offsets,
            "labels": self.labels,
        }
        # One key: safetensors writes several in any order, and equal splits would be unequal files.
        save_file(arrays, path, metadata={"pad_token_id": f"{self.pad_token_id} {self.padding_side}"})

    @classmethod
    def load(cls, path: Path) -> TokenizedSplit:
        """The split that `save` wrote."""
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            pad_token_id, _, side = file.metadata()["pad_token_id"].partition(" ")
            return cls(**arrays, pad_token_id=int(pad_token_id), padding_side=side or "right")


def tokenize(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, task: TextClassification, max_length: int
) -> TokenizedSplit:
    """Tokenise prepared rows; of a pair that is too long, the longer text is cut first."""
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    for start in range(0, len(dataset), TOKENIZER_CHUNK):
        chunk = dataset[start : start + TOKENIZER_CHUNK]
        texts = [list(chunk[column]) for column in task.text_columns]
        encoded = tokenizer(*texts, truncation=True, max_length=max_length, padding=False)
        ids.extend(np.asarray(row, dtype=np.int32) for row in encoded["input_ids"])
        # A tokenizer that gives no token types is of a model that takes all of them for 0.
        given = encoded.get("token_type_ids") or [[0] * len(row) for row in encoded["input_ids"]]
        types.extend(np.asarray(row, dtype=np.int32) for row in given)
    return TokenizedSplit(
        input_ids=np.concatenate(ids),
        token_type_ids=np.concatenate(types),
        offsets=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        labels=np.asarray(dataset[task.label_column][:], dtype=np.int64),
        pad_token_id=tokenizer.pad_token_id or 0,
        padding_side=tokenizer.padding_side,
    )
