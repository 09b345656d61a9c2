"""A chain with a choice of operators at every position: all that the supernet's parts know of a network.

Samplers, alignment, interference, ranking and search work on any chain. BERT's is `SuperBert`;
examples/images.py holds one of inverted residual blocks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from torch import Tensor, nn

Op = TypeVar("Op", bound=Hashable)
Op_co = TypeVar("Op_co", bound=Hashable, covariant=True)
Choices: TypeAlias = Sequence[Sequence[Op]]
Inputs: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class SupernetOutput:
    """Logits (B, C), and the hidden states (B, ..., D): the stem's output, then one a position.

    An identity repeats the tensor before it. `mask` (B, ...) is 0 where a hidden state is padding, or None.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...]
    mask: Tensor | None = None


class ChainNetwork(Protocol):
    """A supernet over a chain, stateless in the child; `inputs` are the keyword arguments of its forward.

    Tensors among them have a row an example. Called with `**inputs` and `architecture=child` it gives a
    SupernetOutput. Its parts run alone too, so that children with a common beginning can share it.
    """

    @property
    def choices(self) -> Sequence[Sequence[Any]]:
        """The operators allowed at each position."""

    def module_at(self, position: int, operator: Any) -> nn.Module | None:
        """The module that owns an operator's weights at a position; None where it has none."""

    def run_stem(self, inputs: Inputs) -> Tensor:
        """What enters the chain."""

    def run_position(self, x: Tensor, position: int, operator: Any, inputs: Inputs) -> Tensor:
        """The position's output for the input `x`."""

    def run_head(self, x: Tensor, inputs: Inputs) -> Tensor:
        """Logits (B, C) from the chain's output."""


def run_chain(network: ChainNetwork, inputs: Inputs, child: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
    """Logits (B, C) of a child, and its states: the stem's output, then one a position."""
    x = network.run_stem(inputs)
    states = [x]
    for position, operator in enumerate(child):
        x = network.run_position(x, position, operator, inputs)
        states.append(x)
    return network.run_head(x, inputs), states


def as_indices(choices: Choices[Op], child: Sequence[Op]) -> list[int]:
    """A child as JSON: the number of each position's operator among its choices."""
    return [operators.index(operator) for operators, operator in zip(choices, child, strict=True)]


def from_indices(choices: Choices[Op], indices: Sequence[int]) -> tuple[Op, ...]:
    """The child that `as_indices` wrote."""
    return tuple(operators[index] for operators, index in zip(choices, indices, strict=True))
