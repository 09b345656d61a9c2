"""A served folder makes the ids, masks and token types that the tokenizer of the training makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_folders import tokenizer as bert_tokenizer

from bertcompress.export.encoding import open_tokenizer, padded
from bertcompress.export.tokenizer_files import check_tokenizer, tokenizer_settings, write_tokenizer


@pytest.mark.parametrize("truncation_side", ["left", "right"])
@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("segments", [[], ["token_type_ids"]])
def test_rows_are_those_of_transformers(
    tmp_path: Path, truncation_side: str, padding_side: str, segments: list[str]
) -> None:
    words: Any = bert_tokenizer()
    words.truncation_side, words.padding_side = truncation_side, padding_side
    words.model_input_names = ["input_ids", *segments, "attention_mask"]
    settings = tokenizer_settings(words)
    write_tokenizer(words, settings, 8, tmp_path)
    assert check_tokenizer(words, tmp_path, settings, 8, words=True) > 20
    rows = ["a good film", "the bad film, the good film, a cafe!", "unwatchable"]
    found = padded(open_tokenizer(tmp_path / "tokenizer.json", settings, 8).encode_batch(rows), settings)
    expected = words(rows, truncation=True, max_length=8, padding=True)
    assert found["input_ids"].tolist() == expected["input_ids"]
    types = expected.get("token_type_ids", np.zeros_like(found["input_ids"]).tolist())
    assert found["token_type_ids"].tolist() == types
