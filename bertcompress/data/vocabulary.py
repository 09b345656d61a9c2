"""A tokenizer that knows only the tokens of a corpus: half of a small BERT is its word embeddings.

WordPiece (Wu et al. 2016, arXiv 1609.08144) takes the longest known piece at every place, so a text whose
pieces are all kept is cut as before, and other texts into shorter pieces. The idea: Abdaoui et al. 2020,
arXiv 2010.05609."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bertcompress.errors import DataError

# Models of the tokenizers library whose cut of a text does not change when pieces go that it does not use.
TRIMMED_MODELS = ("WordPiece", "WordLevel")
CONTINUATION = "##"


@dataclass(frozen=True)
class Vocabulary:
    """A trimmed tokenizer; its token i is token `kept[i]` of the tokenizer it came from, (V,) ascending."""

    tokenizer: PreTrainedTokenizerBase
    kept: np.ndarray


def check_trimmable(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer whose vocabulary cannot be trimmed without cutting the kept texts anew.

    Raises:
        DataError: it is slow, or of another kind than WordPiece.
    """
    kind = _description(tokenizer)["model"]["type"] if tokenizer.is_fast else "a slow tokenizer"
    if kind not in TRIMMED_MODELS:
        raise DataError(
            f"space.vocabulary: corpus: the teacher's tokenizer is {kind}; only "
            f"{' and '.join(TRIMMED_MODELS)} can be trimmed; "
            "set space.vocabulary to full, or space.embedding_size to factorize instead"
        )


def trim_vocabulary(tokenizer: PreTrainedTokenizerBase, used: Iterable[int]) -> Vocabulary:
    """The tokenizer without the tokens that are not `used`.

    Special tokens stay, and so does every single character that stands in a kept token, first in a word and
    further on: an unseen word of known characters is spelt out rather than unknown.

    Raises:
        DataError: see check_trimmable.
    """
    check_trimmable(tokenizer)
    described = _description(tokenizer)
    vocabulary: dict[str, int] = described["model"]["vocab"]
    kept = _kept_ids(vocabulary, described["added_tokens"], set(used) | set(tokenizer.all_special_ids))
    new_id = {old: new for new, old in enumerate(kept)}
    described["model"]["vocab"] = {
        token: new_id[old]
        for token, old in sorted(vocabulary.items(), key=lambda item: item[1])
        if old in new_id
    }
    for added in described["added_tokens"]:
        added["id"] = new_id[added["id"]]
    described["post_processor"] = _renumbered(described["post_processor"], new_id)
    # Cutting and padding are for the caller to ask.
    described["truncation"] = described["padding"] = None
    trimmed = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(described)),
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
    return Vocabulary(trimmed, np.array(kept, dtype=np.int64))


def _description(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return described


def _kept_ids(vocabulary: dict[str, int], added: list[dict[str, Any]], used: set[int]) -> list[int]:
    kept = used | {token["id"] for token in added}
    characters = {
        character
        for token, number in vocabulary.items()
        if number in kept
        for character in token.removeprefix(CONTINUATION)
    }
    for character in characters:
        kept |= {vocabulary[piece] for piece in (character, CONTINUATION + character) if piece in vocabulary}
    return sorted(kept)


def _renumbered(processor: Any, new_id: dict[int, int]) -> Any:
    """A post-processor's description with the ids of its special tokens replaced, wherever they stand."""
    if isinstance(processor, dict):
        if processor.get("type") == "BertProcessing":
            pairs = {name: [processor[name][0], new_id[processor[name][1]]] for name in ("sep", "cls")}
            return processor | pairs
        return {
            key: [new_id[number] for number in value] if key == "ids" else _renumbered(value, new_id)
            for key, value in processor.items()
        }
    if isinstance(processor, list):
        return [_renumbered(value, new_id) for value in processor]
    return processor
