"""The operators of a recipe's space: the same at every position, or a list for each position."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag

from bertcompress.errors import SpaceError
from bertcompress.recipe.section import as_list, different
from bertcompress.space import KINDS, BertSizes, Operator

TEACHER_SIZED = "teacher-sized"
# What the operators' form adds to the place of an error, which no key can be called.
SAME_MARK, BY_POSITION_MARK = "[same]", "[by position]"


def _operator_word(name: str) -> str:
    if name != TEACHER_SIZED:
        try:
            Operator.parse(name)
        except SpaceError as error:
            raise ValueError(str(error)) from None
    return name


def _operator_choice(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same operators for every position."""
    if TEACHER_SIZED in names and len(names) > 1:
        raise ValueError(f"{TEACHER_SIZED} stands alone; name it or operators, not both")
    if TEACHER_SIZED not in names and len(names) < 2:
        raise ValueError("one operator leaves no choice to search; name two or more")
    return different(names)


def _position_choice(names: tuple[str, ...]) -> tuple[str, ...]:
    """The operators of one position, where each has its own."""
    if TEACHER_SIZED in names:
        raise ValueError(f"{TEACHER_SIZED} stands for every position; name operators")
    if not names:
        raise ValueError("no operator; name one or more")
    return different(names)


def _some_choice(positions: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    if all(len(names) < 2 for names in positions):
        raise ValueError("one operator at every position leaves no choice to search; name two or more at one")
    return positions


def _operators_form(value: Any) -> str:
    nested = isinstance(value, list | tuple) and any(isinstance(each, list | tuple) for each in value)
    return BY_POSITION_MARK if nested else SAME_MARK


OperatorWord: TypeAlias = Annotated[str, AfterValidator(_operator_word)]
SameOperators: TypeAlias = Annotated[tuple[OperatorWord, ...], AfterValidator(_operator_choice)]
PositionOperators: TypeAlias = Annotated[
    tuple[OperatorWord, ...], BeforeValidator(as_list), AfterValidator(_position_choice)
]
Operators: TypeAlias = Annotated[
    Annotated[SameOperators, Tag(SAME_MARK)]
    | Annotated[tuple[PositionOperators, ...], AfterValidator(_some_choice), Tag(BY_POSITION_MARK)],
    Discriminator(_operators_form),
    BeforeValidator(as_list),
]


def operators_by_position(
    operators: tuple[str, ...] | tuple[tuple[str, ...], ...],
) -> tuple[tuple[str, ...], ...] | None:
    """The lists of `space.operators`, one a position; None where all positions have the same."""
    lists = tuple(each for each in operators if isinstance(each, tuple))
    return lists or None


def teacher_sized_operators(num_attention_heads: int, intermediate_size: int) -> tuple[str, ...]:
    """Return what `teacher-sized` stands for: a teacher's own sizes, their halves and quarters, and others.

    Every kind declares its own sizes (`OperatorKind.teacher_sizes`).
    """
    bert = BertSizes(num_attention_heads, intermediate_size)
    return tuple(
        Operator(kind.word, size).name for kind in KINDS.values() for size in kind.teacher_sizes(bert)
    )
