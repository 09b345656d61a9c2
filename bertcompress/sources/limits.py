"""What a model takes as input, read from its config.json: every length that a command is given is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class InputLimits:
    """What a model takes: ids below `vocab_size`, segments below `num_segments`, rows to `max_length`."""

    vocab_size: int
    max_length: int
    num_segments: int


def input_limits(config: Mapping[str, Any]) -> InputLimits:
    """The limits of a compact model or of a Hugging Face one, given its configuration as a dict.

    RoBERTa counts positions from behind the padding id, and DistilBERT has no segments.

    Raises:
        KeyError: the sizes are not there.
    """
    kind, positions = config.get("model_type"), int(config["max_position_embeddings"])
    padding = config.get("pad_token_id")
    # RoBERTa's own default, which its config.json may leave out.
    reserved = (1 if padding is None else int(padding)) + 1 if kind == "roberta" else 0
    num_segments = 1 if kind == "distilbert" else int(config.get("type_vocab_size", 2))
    return InputLimits(int(config["vocab_size"]), positions - reserved, num_segments)


def too_long(place: str, length: int, limits: InputLimits, model: str = "the teacher") -> str | None:
    """The problem of a length that has more tokens than the model has positions; None where it fits."""
    if length <= limits.max_length:
        return None
    return f"{place}: {length} tokens; {model} has positions for {limits.max_length}, use at most those"
