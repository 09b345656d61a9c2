"""A network that can be built, its weights and multiply-accumulates counted exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from bertcompress.space.dimensions import Dimensions, Pooling
from bertcompress.space.operators import KINDS, Child, Operator, canonical, child_name


def operator_parameters(operator: Operator, dimensions: Dimensions) -> int:
    """Return the exact number of weights of one operator, its biases and its layer norm included."""
    return KINDS[operator.kind].num_parameters(operator.size, dimensions)


def operator_macs(
    operator: Operator, dimensions: Dimensions, sequence_length: int, *, first_token: bool = False
) -> int:
    """Return the multiply-accumulates of one operator on one sequence, without softmax, gelu and layer norm.

    With `first_token`, of its output at the first token only (see `first_token_from`).
    """
    num_outputs = 1 if first_token else sequence_length
    return KINDS[operator.kind].macs(operator.size, dimensions, sequence_length, num_outputs)


def first_token_from(child: Sequence[Operator], pooling: Pooling) -> int:
    """Return the index of the first operator whose output is needed at the first token only.

    It is the child's length if there is none. Where the head reads the first token ("cls"), it is the last
    operator that mixes tokens: that one still reads all of them, and what comes after it sees one. Without
    such an operator it is the first of all.
    """
    if pooling != "cls":
        return len(child)
    return max((index for index, operator in enumerate(child) if operator.mixes_tokens), default=0)


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
        return child_name(self.operators)

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
