"""The operators of a chain x = LN(x + op(x)), the words that name them, and children, one a position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from bertcompress.errors import SpaceError

OperatorKind: TypeAlias = Literal["mha", "ffn", "conv", "identity"]
# Kinds of operators in which a token's output depends on other tokens.
MIXING_KINDS = ("mha", "conv")
_NAME = re.compile(r"(mha|ffn|conv)([0-9]+)")


@dataclass(frozen=True, order=True)
class Operator:
    """One residual sub-layer; `size` is attention heads, feed-forward inner width or convolution kernel.

    Raises:
        SpaceError: the kind is unknown, or no such size can be built.
    """

    kind: OperatorKind
    size: int = 0

    def __post_init__(self) -> None:
        problem = None
        if self.kind not in get_args(OperatorKind):
            problem = f"unknown kind {self.kind!r}; use one of {', '.join(get_args(OperatorKind))}"
        elif self.kind == "identity" and self.size != 0:
            problem = f"identity has no size, found {self.size}; leave it out"
        elif self.kind != "identity" and self.size < 1:
            problem = f"{self.kind}{self.size} is empty; use a size of 1 or more, or identity"
        elif self.kind == "conv" and self.size % 2 == 0:
            neighbours = f"conv{self.size - 1} or conv{self.size + 1}"
            problem = f"conv{self.size}: an even kernel has no middle; use {neighbours}"
        if problem:
            raise SpaceError(problem)

    @property
    def name(self) -> str:
        """The operator's word in a recipe, e.g. "mha6" or "identity"."""
        return "identity" if self.kind == "identity" else f"{self.kind}{self.size}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> Operator:
        """The operator that a recipe's word names.

        Raises:
            SpaceError: the word is not one of mhaH, ffnW, convK, identity.
        """
        if name == "identity":
            return IDENTITY
        match = _NAME.fullmatch(name)
        if match is None:
            allowed = "mhaH (heads), ffnW (width), convK (odd kernel) or identity"
            raise SpaceError(f'"{name}" is no operator; use {allowed}')
        return cls(cast(OperatorKind, match[1]), int(match[2]))


IDENTITY = Operator("identity")
Child: TypeAlias = tuple[Operator, ...]


def canonical(child: Sequence[Operator]) -> Child:
    """The child without its identities, which is the network that is built and exported."""
    return tuple(operator for operator in child if operator.kind != "identity")


def placed_steps(child: Sequence[Operator]) -> tuple[tuple[int, Operator], ...]:
    """The (position, operator) pairs that compute something: children with equal ones are one computation.

    Weights are owned by position, so the same operator at another position is another step. In sorted order
    children that share their first steps stand together.
    """
    return tuple(step for step in enumerate(child) if step[1].kind != "identity")


def teacher_child(num_hidden_layers: int, heads: int, intermediate_size: int) -> Child:
    """The alternating chain that is a BERT encoder, two positions a layer."""
    return (Operator("mha", heads), Operator("ffn", intermediate_size)) * num_hidden_layers
