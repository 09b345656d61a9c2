"""A network that can be built, its weights and multiply-accumulates counted exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from bertcompress.errors import SpaceError
from bertcompress.space.operators import MIXING_KINDS, Child, Operator, canonical

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


def operator_parameters(operator: Operator, dimensions: Dimensions) -> int:
    """Exact number of weights of one operator, its biases and its layer norm included."""
    hidden = dimensions.hidden_size
    layer_norm = 2 * hidden
    if operator.kind == "mha":
        inner = operator.size * dimensions.head_size
        return 3 * (hidden * inner + inner) + inner * hidden + hidden + layer_norm
    if operator.kind == "ffn":
        return hidden * operator.size + operator.size + operator.size * hidden + hidden + layer_norm
    if operator.kind == "conv":
        return hidden * operator.size + hidden + hidden * hidden + hidden + layer_norm
    return 0


def operator_macs(
    operator: Operator, dimensions: Dimensions, sequence_length: int, *, first_token: bool = False
) -> int:
    """Multiply-accumulates of one operator on one sequence, without softmax, gelu and layer norm.

    With `first_token`, of its output at the first token only (see `first_token_from`).
    """
    hidden = dimensions.hidden_size
    wanted = 1 if first_token else sequence_length
    if operator.kind == "mha":
        inner = operator.size * dimensions.head_size
        keys_and_values, query_and_output = 2 * sequence_length * hidden, 2 * wanted * hidden
        return inner * (keys_and_values + query_and_output + 2 * wanted * sequence_length)
    if operator.kind == "ffn":
        return 2 * wanted * hidden * operator.size
    if operator.kind == "conv":
        return sequence_length * hidden * operator.size + wanted * hidden * hidden
    return 0


def first_token_from(child: Sequence[Operator], pooling: Pooling) -> int:
    """Index of the first operator whose output is needed at the first token only; their number if none is.

    Where the head reads the first token ("cls"), that is the last operator that mixes tokens: it still reads
    all of them, and a feed-forward after it sees one. Without such an operator it is the first of all.
    """
    if pooling != "cls":
        return len(child)
    return max((index for index, operator in enumerate(child) if operator.kind in MIXING_KINDS), default=0)


@dataclass(frozen=True)
class Architecture:
    """A network that can be built: its dimensions and its chain in canonical form, without identities."""

    dimensions: Dimensions
    operators: Child

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", canonical(self.operators))

    @property
    def name(self) -> str:
        """The chain in words, e.g. "mha3-conv3"; "embeddings-only" when it is empty."""
        return "-".join(operator.name for operator in self.operators) or "embeddings-only"

    def parameter_breakdown(self) -> dict[str, int]:
        """Exact numbers of weights of the embeddings, the chain and the head."""
        d = self.dimensions
        rows = d.max_position_embeddings + d.type_vocab_size + 2  # the layer norm holds two rows
        embeddings = d.vocab_size * d.embedding_size + rows * d.hidden_size
        if d.embedding_size < d.hidden_size:
            embeddings += d.embedding_size * d.hidden_size
        head = d.hidden_size * d.num_labels + d.num_labels
        if d.pooling != "none":
            head += d.pooled_size * d.hidden_size + d.hidden_size
        encoder = sum(operator_parameters(operator, d) for operator in self.operators)
        return {"embeddings": embeddings, "encoder": encoder, "head": head}

    @cached_property
    def num_parameters(self) -> int:
        """Exact number of weights: equals the sum of numel over the built network."""
        return sum(self.parameter_breakdown().values())

    def macs(self, sequence_length: int, batch_size: int = 1) -> int:
        """Multiply-accumulates of one batch; reported, never used as latency."""
        d = self.dimensions
        projection = (
            sequence_length * d.embedding_size * d.hidden_size if d.embedding_size < d.hidden_size else 0
        )
        start = first_token_from(self.operators, d.pooling)
        encoder = sum(
            operator_macs(operator, d, sequence_length, first_token=index >= start)
            for index, operator in enumerate(self.operators)
        )
        head = d.hidden_size * (d.pooled_size + d.num_labels)
        if d.pooling == "none":
            head = sequence_length * d.hidden_size * d.num_labels
        return batch_size * (projection + encoder + head)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; from_dict reads them back."""
        names = [operator.name for operator in self.operators]
        return {"dimensions": asdict(self.dimensions), "operators": names}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """The architecture that to_dict wrote."""
        return cls(
            Dimensions(**values["dimensions"]), tuple(Operator.parse(name) for name in values["operators"])
        )
