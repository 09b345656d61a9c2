"""A tokenizer that knows only the tokens of a corpus: half of a small BERT is its word embeddings.

WordPiece (Wu et al. 2016, arXiv 1609.08144) takes the longest known piece at every place, so a text whose
pieces are all kept is cut as before, and other texts into shorter pieces. Only a word that was unknown may
become known: what kept its beginning from being cut shorter is gone. The idea: Abdaoui et al. 2020,
arXiv 2010.05609."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bertcompress.errors import DataError

# Models of the tokenizers library whose cut of a text does not change when pieces go that it does not use.
TRIMMED_MODELS = ("WordPiece", "WordLevel")
TOKENIZER_FILE, CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"


@dataclass(frozen=True)
class Vocabulary:
    """A trimmed tokenizer; its token i is token `kept[i]` of the tokenizer it came from, (V,) ascending."""

    tokenizer: PreTrainedTokenizerBase
    kept: np.ndarray

    @property
    def unknown_id(self) -> int:
        """The trimmed tokenizer's id of the token for what it does not know."""
        backend = self.tokenizer.backend_tokenizer
        return backend.token_to_id(backend.model.unk_token)


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
    kept = _kept_ids(described, set(used) | set(tokenizer.all_special_ids))
    new_id = {old: new for new, old in enumerate(kept)}
    with tempfile.TemporaryDirectory(prefix="bertcompress-tokenizer-") as folder:
        tokenizer.save_pretrained(folder)
        _trim_files(Path(folder), described, new_id)
        # Loaded, not built: so it keeps its class, by which other versions of transformers load it.
        trimmed = AutoTokenizer.from_pretrained(folder)
    trimmed.name_or_path = tokenizer.name_or_path
    return Vocabulary(trimmed, np.array(kept, dtype=np.int64))


def _trim_files(folder: Path, described: dict[str, Any], new_id: dict[int, int]) -> None:
    """Renumber a saved tokenizer's files, and leave only those that are needed to load it."""
    for path in folder.iterdir():
        if path.name not in (TOKENIZER_FILE, CONFIG_FILE, "special_tokens_map.json"):
            path.unlink()
    (folder / TOKENIZER_FILE).write_text(json.dumps(_trimmed(described, new_id)), encoding="utf-8")
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if "added_tokens_decoder" in config:
        added = config["added_tokens_decoder"].items()
        config["added_tokens_decoder"] = {str(new_id[int(old)]): token for old, token in added}
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")


def _trimmed(described: dict[str, Any], new_id: dict[int, int]) -> dict[str, Any]:
    """A tokenizer's description with the tokens of `new_id` alone, renumbered."""
    by_id = sorted(described["model"]["vocab"].items(), key=lambda item: item[1])
    return described | {
        "model": described["model"]
        | {"vocab": {token: new_id[old] for token, old in by_id if old in new_id}},
        "added_tokens": [added | {"id": new_id[added["id"]]} for added in described["added_tokens"]],
        "post_processor": _renumbered(described["post_processor"], new_id),
        # Cutting and padding are for the caller to ask.
        "truncation": None,
        "padding": None,
    }


def _description(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return described


def _kept_ids(described: dict[str, Any], used: set[int]) -> list[int]:
    vocabulary: dict[str, int] = described["model"]["vocab"]
    continuation = described["model"].get("continuing_subword_prefix", "")
    kept = used | {token["id"] for token in described["added_tokens"]}
    kept.add(vocabulary[described["model"]["unk_token"]])
    characters = {
        character
        for token, number in vocabulary.items()
        if number in kept
        for character in token.removeprefix(continuation)
    }
    for character in characters:
        kept |= {vocabulary[piece] for piece in (character, continuation + character) if piece in vocabulary}
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
