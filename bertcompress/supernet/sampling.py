"""Which child is trained at a step: samplers over the choices of a chain, whatever the operators are.

A sampler and an alignment compose into a strategy (Xu et al. 2022, arXiv 2108.12821, section 4):

| strategy   | sampler         | alignment |
| ---------- | --------------- | --------- |
| `spos`     | UniformSampler  | none      |
| `magic-t`  | GradualSampler  | none      |
| `magic-a`  | UniformSampler  | anchor    |
| `magic-at` | GradualSampler  | anchor    |
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from bertcompress.errors import SpaceError

Op = TypeVar("Op", bound=Hashable)
Op_co = TypeVar("Op_co", bound=Hashable, covariant=True)
MAX_REJECTIONS = 10_000


class Sampler(Protocol[Op_co]):
    """Yields the child of each training step."""

    def next_child(self) -> tuple[Op_co, ...]:
        """The child to train at this step, one operator a position."""


class UniformSampler(Generic[Op]):
    """Every position's operator uniformly at random (single-path one-shot, Guo et al. 2020, section 3.1).

    `accepts` keeps children that the budgets allow; rejected ones are drawn again.

    Raises:
        SpaceError: `accepts` refused 10,000 children in a row.
    """

    def __init__(
        self,
        choices: Sequence[Sequence[Op]],
        rng: random.Random,
        *,
        accepts: Callable[[tuple[Op, ...]], bool] = lambda child: True,
    ) -> None:
        self._choices = [tuple(position) for position in choices]
        self._rng = rng
        self._accepts = accepts

    def next_child(self) -> tuple[Op, ...]:
        for _ in range(MAX_REJECTIONS):
            child = tuple(self._rng.choice(position) for position in self._choices)
            if self._accepts(child):
                return child
        raise SpaceError(
            f"sampling: {MAX_REJECTIONS} children in a row broke a budget; widen the budgets, add smaller "
            "operators (identity among them), or set supernet.sample_within_budget to false"
        )


class GradualSampler(Generic[Op]):
    """The last child with exactly one position's operator replaced (MAGIC-T, Xu et al. 2022, section 4.1).

    A replacement is never a no-op. `accepts` keeps the walk inside the budgets: among the one-position
    neighbours that it accepts, one is drawn uniformly.

    Raises:
        SpaceError: no position has a second operator, or every neighbour breaks a budget.
    """

    def __init__(
        self,
        choices: Sequence[Sequence[Op]],
        rng: random.Random,
        *,
        accepts: Callable[[tuple[Op, ...]], bool] = lambda child: True,
    ) -> None:
        self._choices = [tuple(position) for position in choices]
        self._rng = rng
        self._accepts = accepts
        self._last: tuple[Op, ...] | None = None
        if all(len(set(position)) < 2 for position in self._choices):
            raise SpaceError("sampling: magic-t needs a position with at least two operators to replace")

    def next_child(self) -> tuple[Op, ...]:
        if self._last is None:
            self._last = UniformSampler(self._choices, self._rng, accepts=self._accepts).next_child()
            return self._last
        neighbours = self._neighbours(self._last)
        self._rng.shuffle(neighbours)
        for child in neighbours:
            if self._accepts(child):
                self._last = child
                return child
        raise SpaceError(f"sampling: every neighbour of {self._last} breaks a budget; widen the budgets")

    def _neighbours(self, child: tuple[Op, ...]) -> list[tuple[Op, ...]]:
        return [
            (*child[:position], operator, *child[position + 1 :])
            for position, operators in enumerate(self._choices)
            for operator in operators
            if operator != child[position]
        ]


SAMPLERS: dict[str, type[UniformSampler[Any]] | type[GradualSampler[Any]]] = {
    "spos": UniformSampler,
    "magic-t": GradualSampler,
    "magic-a": UniformSampler,
    "magic-at": GradualSampler,
}
ALIGNED_STRATEGIES = frozenset({"magic-a", "magic-at"})
