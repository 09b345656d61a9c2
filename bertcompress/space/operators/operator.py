"""The operators of a chain x = LN(x + op(x)), the words that name them, and children, one a position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bertcompress.errors import SpaceError
from bertcompress.space.operators.registry import KINDS

_NAME = re.compile(r"([a-z]+)([0-9]*)")


@dataclass(frozen=True, order=True)
class Operator:
    """One residual sub-layer: the word of its kind, and its size, of which the kind says what it means.

    Raises:
        SpaceError: the kind is unknown, or no such size can be built.
    """

    kind: str
    size: int = 0

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise SpaceError(problem)

    def _problem(self) -> str | None:
        if self.kind not in KINDS:
            return f"unknown kind {self.kind!r}; use one of {', '.join(KINDS)}"
        kind = KINDS[self.kind]
        if not kind.size_meaning:
            return f"{self.kind} has no size, found {self.size}; leave it out" if self.size else None
        if self.size < 1:
            return f"{self.kind}{self.size} is empty; use a size of 1 or more, or {IDENTITY.name}"
        return kind.size_problem(self.size)

    @property
    def name(self) -> str:
        """The operator's word in a recipe, e.g. "mha6" or "identity"."""
        return f"{self.kind}{self.size}" if KINDS[self.kind].size_meaning else self.kind

    @property
    def mixes_tokens(self) -> bool:
        """Whether a token's output depends on other tokens."""
        return KINDS[self.kind].mixes_tokens

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> Operator:
        """Return the operator that a recipe's word names.

        Raises:
            SpaceError: the word has none of the forms that the kinds declare, or its size cannot be built.
        """
        match = _NAME.fullmatch(name)
        kind = KINDS.get(match[1]) if match else None
        if match is None or kind is None or bool(match[2]) != bool(kind.size_meaning):
            *forms, last = [each.description for each in KINDS.values()]
            raise SpaceError(f'"{name}" is no operator; use {", ".join(forms)} or {last}')
        return cls(kind.word, int(match[2] or 0))


IDENTITY = Operator("identity")
Child: TypeAlias = tuple[Operator, ...]


def canonical(child: Sequence[Operator]) -> Child:
    """Return the child without its identities, which is the network that is built and exported."""
    return tuple(operator for operator in child if operator != IDENTITY)


def child_name(child: Sequence[Operator]) -> str:
    """Return the operators' names in a row, as in `mha12-ffn384`; of an empty chain, `embeddings-only`."""
    return "-".join(operator.name for operator in child) or "embeddings-only"


def placed_steps(child: Sequence[Operator]) -> tuple[tuple[int, Operator], ...]:
    """Return the (position, operator) pairs that compute something.

    Children with equal pairs are one computation. Weights are owned by position, so the same operator at
    another position is another step. In sorted order children that share their first steps stand together.
    """
    return tuple(step for step in enumerate(child) if step[1] != IDENTITY)
