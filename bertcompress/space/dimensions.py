"""The sizes that all networks of a space have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

from bertcompress.errors import SpaceError

# How tokens become the head's vector; with "none" each token keeps its own, for heads that classify tokens.
Pooling: TypeAlias = Literal["cls", "mean", "mean_max", "none"]


@dataclass(frozen=True)
class Dimensions:
    """What every child of a space has in common: the sizes outside the chain, and the width inside it.

    Raises:
        SpaceError: a size is not positive, or the embeddings are wider than the chain.
    """

    vocab_size: int
    hidden_size: int
    embedding_size: int
    head_size: int
    num_labels: int
    pooling: Pooling
    max_position_embeddings: int = 512
    type_vocab_size: int = 2

    def __post_init__(self) -> None:
        sizes = {key: value for key, value in asdict(self).items() if key != "pooling"}
        problems = [f"{key}: {value}; use 1 or more" for key, value in sizes.items() if value < 1]
        if self.pooling not in get_args(Pooling):
            problems.append(f"pooling: {self.pooling!r}; use one of {', '.join(get_args(Pooling))}")
        problems += [
            f"{key}: {sizes[key]} is wider than hidden_size; use 1 to {self.hidden_size}"
            for key in ("embedding_size", "head_size")
            if sizes[key] > self.hidden_size
        ]
        if problems:
            raise SpaceError.from_problems("dimensions", problems)

    @property
    def pooled_size(self) -> int:
        """Width of the pooled vector that enters the head."""
        return 2 * self.hidden_size if self.pooling == "mean_max" else self.hidden_size
