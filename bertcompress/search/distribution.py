"""A distribution over children: the probabilities of each position's operators, independent of the others'.

What the policy-gradient and the PARSEC searcher learn. It is kept as JSON and can start a search in another
space, shorter or longer or with other operators.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertcompress.errors import SpaceError
from bertcompress.files import read_json, write_atomically
from bertcompress.space import Child, Operator, SearchSpace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OperatorDistribution:
    """`probabilities[position]` goes with `choices[position]` and sums to one."""

    choices: tuple[tuple[Operator, ...], ...]
    probabilities: tuple[Array, ...]

    @classmethod
    def uniform(cls, space: SearchSpace) -> OperatorDistribution:
        """Every operator of a position equally likely."""
        return cls(space.choices, tuple(np.full(len(o), 1 / len(o)) for o in space.choices))

    def draw(self, rng: random.Random) -> Child:
        """A child, drawn position by position."""
        return tuple(
            rng.choices(operators, weights=row.tolist())[0]
            for operators, row in zip(self.choices, self.probabilities, strict=True)
        )

    def shares(self, children: Sequence[Child], weights: Array) -> tuple[Array, ...]:
        """The weights (N,) of the children that have each operator, added up: one row a position."""
        totals = tuple(np.zeros(len(operators)) for operators in self.choices)
        for child, weight in zip(children, weights, strict=True):
            for row, operators, operator in zip(totals, self.choices, child, strict=True):
                row[operators.index(operator)] += weight
        return totals

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: a mapping from operator names to probabilities for each position."""
        return {
            "positions": [
                {operator.name: float(p) for operator, p in zip(operators, row, strict=True)}
                for operators, row in zip(self.choices, self.probabilities, strict=True)
            ]
        }

    def save(self, path: Path) -> None:
        """Write `to_dict` as JSON, whole or not at all."""
        write_atomically(path, (json.dumps(self.to_dict(), indent=1) + "\n").encode())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], space: SearchSpace) -> OperatorDistribution:
        """What `to_dict` wrote, carried over to `space`; the same space gets the same distribution back.

        A position takes over the saved position at the same relative depth. An operator that the saved
        position lacks gets the probability that a uniform draw would give it; the others share the rest in
        their saved proportions, and what the space no longer has is left out.

        Raises:
            SpaceError: the values are no such distribution.
        """
        saved = _checked(values)
        deepest = max(1, space.num_positions - 1)
        rows = [
            _carried_over(saved[round(position * (len(saved) - 1) / deepest)], operators)
            for position, operators in enumerate(space.choices)
        ]
        return cls(space.choices, tuple(rows))

    @classmethod
    def load(cls, path: Path, space: SearchSpace) -> OperatorDistribution:
        """Read what `save` wrote and carry it over to `space`, as `from_dict` does.

        Raises:
            RunFolderError: the file is missing or no JSON.
            SpaceError: it holds something else than a distribution.
        """
        try:
            return cls.from_dict(read_json(path), space)
        except SpaceError as error:
            raise SpaceError(f"{path}: {error}") from error


def _carried_over(saved: Mapping[str, float], operators: Sequence[Operator]) -> Array:
    known = np.array([operator.name in saved for operator in operators])
    row = np.array([saved.get(operator.name, 0.0) for operator in operators])
    share = known.sum() / len(operators)
    if row.sum() <= 0:
        return np.full(len(operators), 1 / len(operators))
    if known.all() and math.isclose(row.sum(), 1, rel_tol=1e-9):
        return row
    return np.where(known, share * row / row.sum(), 1 / len(operators))


def _checked(values: Mapping[str, Any]) -> list[dict[str, float]]:
    """The saved rows.

    Raises:
        SpaceError: there is none, or one holds other things than names with probabilities.
    """
    positions = values.get("positions") if isinstance(values, Mapping) else None
    if not isinstance(positions, list) or not positions:
        raise SpaceError('not a distribution over operators; use a file that holds "positions"')
    problems = []
    for position, row in enumerate(positions):
        if not isinstance(row, Mapping) or not all(_is_probability(value) for value in row.values()):
            problems.append(f"position {position}: {row!r}; use operator names with probabilities")
        elif not math.isclose(sum(row.values()), 1, abs_tol=1e-6):
            problems.append(f"position {position}: the probabilities add up to {sum(row.values()):g}; use 1")
    if problems:
        raise SpaceError.from_problems("distribution over operators", problems)
    return [dict(row) for row in positions]


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
