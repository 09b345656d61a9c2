"""Texts to what a network reads, with numpy and tokenizers alone, as `AutoTokenizer` did it for the training.

A tokenizer.json does not say it all: on which side texts are cut and rows padded, and whether the network is
given segments, are in transformers' own files. An export writes them into export.json too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer


@dataclass(frozen=True)
class TokenizerSettings:
    """How rows are made of a tokenizer's pieces.

    `truncation_side` is where a long text is cut, `padding_side` where a short row is filled, each "left" or
    "right"; without `uses_segments` the second text of a pair has the same token type as the first; with
    `splits_special_tokens` a special token that stands in a text is read as any other word.
    """

    truncation_side: str = "right"
    padding_side: str = "right"
    pad_token_id: int = 0
    pad_token: str = "[PAD]"
    pad_type_id: int = 0
    uses_segments: bool = True
    splits_special_tokens: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TokenizerSettings:
        """What `to_dict` gave."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def open_tokenizer(
    path: Path | str,
    settings: TokenizerSettings,
    max_length: int | None,
    *,
    stride: int = 0,
    strategy: str = "longest_first",
) -> Tokenizer:
    """The tokenizer of a tokenizer.json: cuts rows at `max_length` tokens, or not at all, and pads none.

    With a `stride`, what was cut off is kept as overflowing windows that repeat so many tokens.
    """
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = settings.splits_special_tokens
    if max_length is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(
            max_length, stride=stride, strategy=strategy, direction=settings.truncation_side
        )
    return tokenizer


def padded(rows: Sequence[Encoding], settings: TokenizerSettings) -> dict[str, np.ndarray]:
    """input_ids, attention_mask and token_type_ids (B, T) of rows, filled to the longest of them."""
    length = max(len(row.ids) for row in rows)
    shape = (len(rows), length)
    ids = np.full(shape, settings.pad_token_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    segments = np.full(shape, settings.pad_type_id if settings.uses_segments else 0, dtype=np.int64)
    for index, row in enumerate(rows):
        place = tokens_of(len(row.ids), length, settings)
        ids[index, place] = row.ids
        mask[index, place] = row.attention_mask
        if settings.uses_segments:
            segments[index, place] = row.type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def tokens_of(num_tokens: int, length: int, settings: TokenizerSettings) -> slice:
    """Where a row's tokens lie when it is padded to `length`."""
    return slice(length - num_tokens, length) if settings.padding_side == "left" else slice(num_tokens)
