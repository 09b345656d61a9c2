"""The operators allowed at every position of a chain: what a supernet holds and a searcher draws from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from bertcompress.errors import SpaceError
from bertcompress.space.architecture import Architecture, operator_parameters
from bertcompress.space.dimensions import Dimensions
from bertcompress.space.operators import KINDS, Child, Operator, child_name


@dataclass(frozen=True)
class SearchSpace:
    """The operators allowed at each position, all over the same dimensions.

    Raises:
        SpaceError: no position, a position without operators or with one twice, or too many heads.
    """

    dimensions: Dimensions
    choices: tuple[tuple[Operator, ...], ...]

    def __post_init__(self) -> None:
        problems = [] if self.choices else ["choices: no position; use 1 or more"]
        for position, operators in enumerate(self.choices):
            if not operators:
                problems.append(f"position {position}: no operator; name one or more")
            for index, operator in enumerate(operators):
                where = f'position {position}: "{operator.name}"'
                if operator in operators[:index]:
                    problems.append(f"{where} is listed twice; name it once")
                if problem := _width_problem(operator, self.dimensions):
                    problems.append(f"{where}: {problem}")
        if problems:
            raise SpaceError.from_problems("search space", problems)

    @classmethod
    def uniform(
        cls, dimensions: Dimensions, num_positions: int, operator_names: Sequence[str]
    ) -> SearchSpace:
        """The space with the same operators at every position; `operator_names` are a recipe's words.

        Raises:
            SpaceError: lists every word that is no operator, is listed twice, or is too wide.
        """
        operators: list[Operator] = []
        problems = [] if operator_names else ["operators: empty; name one or more"]
        if num_positions < 1:
            problems.append(f"num_positions: {num_positions}; use 1 or more")
        for index, name in enumerate(operator_names):
            try:
                operator = Operator.parse(name)
            except SpaceError as error:
                problems.append(f"operators[{index}]: {error}")
                continue
            if operator in operators:
                problems.append(f'operators[{index}]: "{name}" is listed twice; name it once')
            if problem := _width_problem(operator, dimensions):
                problems.append(f'operators[{index}]: "{name}": {problem}')
            operators.append(operator)
        if problems:
            raise SpaceError.from_problems("search space", problems)
        return cls(dimensions, (tuple(operators),) * num_positions)

    @classmethod
    def of_names(cls, dimensions: Dimensions, names: Sequence[Sequence[str]]) -> SearchSpace:
        """The space whose positions have the operators of these words, a sequence for each position.

        Raises:
            SpaceError: a word is no operator, or the positions are none of a space.
        """
        return cls(dimensions, tuple(tuple(Operator.parse(name) for name in words) for words in names))

    @property
    def num_positions(self) -> int:
        """Length of a child, identities included."""
        return len(self.choices)

    @property
    def num_children(self) -> int:
        """Product of the choices; children with the same canonical form are counted apart."""
        product = 1
        for operators in self.choices:
            product *= len(operators)
        return product

    def sample(self, rng: random.Random) -> Child:
        """A child drawn uniformly."""
        return tuple(rng.choice(operators) for operators in self.choices)

    def contains(self, child: Sequence[Operator]) -> bool:
        """Whether the child has the space's length and an allowed operator at every position."""
        return len(child) == self.num_positions and all(
            operator in operators for operator, operators in zip(child, self.choices, strict=True)
        )

    def require(self, child: Sequence[Operator]) -> None:
        """Check that the child is of this space.

        Raises:
            SpaceError: names every position whose operator is not allowed there.
        """
        if self.contains(child):
            return
        problems = []
        if len(child) != self.num_positions:
            problems.append(f"{len(child)} operators; use {self.num_positions}, one a position")
        for position, (operator, operators) in enumerate(zip(child, self.choices, strict=False)):
            if operator not in operators:
                allowed = ", ".join(choice.name for choice in operators)
                problems.append(f"position {position}: {operator.name} is not a choice; use {allowed}")
        raise SpaceError.from_problems(f"child {child_name(child)}", problems)

    def architecture(self, child: Sequence[Operator]) -> Architecture:
        """The network that a child is.

        Raises:
            SpaceError: the child is not of this space.
        """
        self.require(child)
        return Architecture(self.dimensions, tuple(child))

    def largest(self) -> Child:
        """The child with the most parameters."""
        return tuple(max(operators, key=self._size_order) for operators in self.choices)

    def smallest(self) -> Child:
        """The child with the fewest parameters."""
        return tuple(min(operators, key=self._size_order) for operators in self.choices)

    def _size_order(self, operator: Operator) -> tuple[int, Operator]:
        return operator_parameters(operator, self.dimensions), operator


def _width_problem(operator: Operator, dimensions: Dimensions) -> str | None:
    return KINDS[operator.kind].width_problem(operator.size, dimensions)
