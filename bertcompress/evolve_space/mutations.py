"""The operators that a space can be made of, and which of them are a step apart: what mutation moves along.

Sizes lie on a ladder between a teacher's own and a small part of them, so that all that evolution can come to
is known, and can be timed, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertcompress.space import IDENTITY, KINDS, BertSizes, Dimensions, Operator, operator_parameters


@dataclass(frozen=True)
class Ladder:
    """All operators that evolution may use, in the order of their kinds and sizes."""

    dimensions: Dimensions
    operators: tuple[Operator, ...]

    @classmethod
    def of_teacher(
        cls,
        dimensions: Dimensions,
        num_attention_heads: int,
        intermediate_size: int,
        known: Sequence[Operator] = (),
    ) -> Ladder:
        """Return the sizes that every kind declares for a teacher's (`ladder_sizes`), and what is `known`."""
        bert = BertSizes(num_attention_heads, intermediate_size)
        operators = {
            Operator(kind.word, size)
            for kind in KINDS.values()
            for size in kind.ladder_sizes(dimensions, bert)
        }
        return cls(dimensions, tuple(sorted(operators.union(known))))

    def mutations(self, operator: Operator) -> tuple[Operator, ...]:
        """The operators a step away: the next sizes of its kind, and of each other kind the one nearest to it
        in parameters; the identity is a step from the smallest of every kind, and they are from it.

        Raises:
            ValueError: the operator is not on the ladder.
        """
        if operator not in self.operators:
            raise ValueError(f"{operator} is not on the ladder of {len(self.operators)} operators")
        alike = self._of_kind(operator.kind)
        place = alike.index(operator)
        found = [*alike[max(0, place - 1) : place], *alike[place + 1 : place + 2]]
        for kind in sorted({other.kind for other in self.operators} - {operator.kind, IDENTITY.kind}):
            found.append(min(self._of_kind(kind), key=lambda other: self._distance(operator, other)))
        if place == 0 and operator != IDENTITY and IDENTITY in self.operators:
            found.append(IDENTITY)
        return tuple(found)

    def _of_kind(self, kind: str) -> tuple[Operator, ...]:
        return tuple(operator for operator in self.operators if operator.kind == kind)

    def _distance(self, one: Operator, other: Operator) -> tuple[int, Operator]:
        ours, theirs = (operator_parameters(each, self.dimensions) for each in (one, other))
        return abs(ours - theirs), other
