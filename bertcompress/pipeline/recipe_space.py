"""A recipe's search space at its teacher's width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bertcompress.errors import SpaceError
from bertcompress.recipe import TEACHER_SIZED, Recipe, operators_by_position, teacher_sized_operators
from bertcompress.space import Architecture, SearchSpace


def recipe_space(recipe: Recipe, teacher: Architecture, vocab_size: int | None = None) -> SearchSpace:
    """The space that `recipe` describes for this teacher; `vocab_size` is that of a trimmed vocabulary.

    Raises:
        SpaceError: its operators or its width do not go with the teacher's.
    """
    chosen, theirs = recipe.space, teacher.dimensions
    hidden_size = chosen.hidden_size or theirs.hidden_size
    if hidden_size != theirs.hidden_size and recipe.supernet.warm_start == "teacher":
        raise SpaceError(
            f"space.hidden_size: {hidden_size} is not the teacher's {theirs.hidden_size}, from which "
            "the supernet starts; leave it out, or set supernet.warm_start to none"
        )
    dimensions = replace(
        theirs,
        vocab_size=vocab_size or theirs.vocab_size,
        hidden_size=hidden_size,
        embedding_size=chosen.embedding_size or hidden_size,
        pooling=chosen.pooling,
    )
    by_position = operators_by_position(chosen.operators)
    if by_position is not None:
        return SearchSpace.of_names(dimensions, by_position)
    operators: Sequence[str] = [str(name) for name in chosen.operators]
    if chosen.operators == (TEACHER_SIZED,):
        sizes = {operator.kind: operator.size for operator in teacher.operators}
        operators = teacher_sized_operators(sizes["mha"], sizes["ffn"])
    return SearchSpace.uniform(dimensions, chosen.num_positions, operators)
