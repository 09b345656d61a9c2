"""Rows on which narrowed files are held against the model: the user's texts, or words of the vocabulary."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bertcompress.export.calibration import Calibration, batches_of
from bertcompress.export.folder import ExportRows
from bertcompress.export.heads import SPAN, head_of_class
from bertcompress.export.tokenizer_files import Text, drawn_words
from bertcompress.export.verify import gives_numbers

# With one row in a hundred allowed to differ, two may.
NUM_DRAWN, MOST_WORDS = 200, 30


def export_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    texts: Sequence[Text] = (),
) -> ExportRows:
    """Return rows to verify and calibrate an export by: `texts`, or without any, words of the vocabulary."""
    span = head_of_class(type(model).__name__) == SPAN
    rows = list(texts) or drawn_texts(tokenizer, pairs=span)
    batches = batches_of(rows, tokenizer, max_length)
    calibration = replace(Calibration.from_batches(batches), numbers=gives_numbers(model), drawn=not texts)
    return ExportRows(batches, calibration, texts)


def drawn_texts(
    tokenizer: PreTrainedTokenizerBase, number: int = NUM_DRAWN, *, pairs: bool = False, seed: int = 0
) -> list[Text]:
    """Return texts of 1 to MOST_WORDS words of the vocabulary, each word as likely as any other."""
    rng = random.Random(seed)

    def text() -> str:
        return " ".join(drawn_words(tokenizer, rng.randint(1, MOST_WORDS), rng))

    return [(text(), text()) if pairs else text() for _ in range(number)]
