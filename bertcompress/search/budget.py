"""What a child costs, and the limits on it: on any of the named costs, at most, at least, or both."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeAlias

from bertcompress.space import Child, SearchSpace

NUM_DRAWS_BEFORE_REPAIR = 20
# The same costs summed in another order differ by rounding; a parameter of 10^11 still counts.
RELATIVE_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Cost:
    """Named costs of a child in one fixed order, each the largest of some sums over the positions.

    The names are `num_parameters`, `macs`, `size_mib`, `latency_ms`, and one more latency for every further
    condition; a cost that nobody asks for may be left out, of every child alike. `sums` are those of each
    name, constants included: one of most costs, two of a latency that grows faster beyond a cache.
    """

    names: tuple[str, ...]
    sums: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        known = len(self.names) == len(self.sums) == len(set(self.names))
        if not known or not all(self.sums):
            raise ValueError(f"{self.sums} do not go with the names {self.names}")

    @classmethod
    def of(cls, **values: float | tuple[float, ...]) -> Cost:
        """The cost whose values, or the sums they are the largest of, are named by the keywords, in order."""
        sums = (value if isinstance(value, tuple) else (value,) for value in values.values())
        return cls(tuple(values), tuple(sums))

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The value of each name."""
        return tuple(max(sums) for sums in self.sums)

    @property
    def names_of_sums(self) -> tuple[str, ...]:
        """The name that each of all sums in a row belongs to."""
        return tuple(name for name, sums in zip(self.names, self.sums, strict=True) for _ in sums)

    def __getitem__(self, name: str) -> float:
        if name not in self.names:
            raise ValueError(f"{name} is not among the costs: {', '.join(self.names)}")
        return self.values[self.names.index(name)]

    def get(self, name: str) -> float | None:
        """The value of that name, None where it is not among the costs."""
        return self[name] if name in self.names else None

    def to_dict(self) -> dict[str, float]:
        """The values by name."""
        return dict(zip(self.names, self.values, strict=True))


CostOf: TypeAlias = Callable[[Child], Cost]
SampleChild: TypeAlias = Callable[[random.Random], Child]


@dataclass(frozen=True)
class Budget:
    """The limits of one cost, both included; None is no limit on that side.

    Raises:
        ValueError: the upper limit is not positive, or below the lower one.
    """

    name: str
    upper: float | None = None
    lower: float | None = None

    def __post_init__(self) -> None:
        if self.upper is not None and (self.upper <= 0 or self.upper < (self.lower or 0.0)):
            raise ValueError(f"{self.name}: a limit of {self.upper} from {self.lower} up leaves nothing")

    @property
    def is_free(self) -> bool:
        """Whether every value is allowed."""
        return self.upper is None and self.lower is None

    def overshoot(self, value: float) -> float:
        """By which share of the limit that it breaks the value breaks it; 0.0 for one within."""
        above = 0.0 if self.upper is None else (value - self.upper) / self.upper
        below = (self.lower - value) / self.lower if self.lower else 0.0
        return broken if (broken := max(above, below)) > RELATIVE_TOLERANCE else 0.0

    def __str__(self) -> str:
        upper, lower = format_value(self.name, self.upper), format_value(self.name, self.lower)
        if self.lower is None:
            return f"at most {upper}"
        return f"at least {lower}" if self.upper is None else f"from {lower} to {upper}"


@dataclass(frozen=True)
class Budgets:
    """Limits on any of the costs; a cost that none names is free."""

    limits: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        names = [budget.name for budget in self.limits]
        if len(set(names)) < len(names):
            raise ValueError(f"two budgets of one name: {', '.join(names)}")

    @classmethod
    def of(cls, **limits: float | tuple[float | None, float | None] | None) -> Budgets:
        """Budgets by name: a number is the most, a pair the least and the most, None leaves the cost free."""
        pairs = {name: limit if isinstance(limit, tuple) else (None, limit) for name, limit in limits.items()}
        budgets = (Budget(name, upper, lower) for name, (lower, upper) in pairs.items())
        return cls(tuple(budget for budget in budgets if not budget.is_free))

    def get(self, name: str) -> Budget:
        """The budget of a cost; one without limits where there is none."""
        return next((budget for budget in self.limits if budget.name == name), Budget(name))

    def bounds(self, names: Sequence[str]) -> tuple[tuple[str, float, float], ...]:
        """(name, lower, upper) for each of `names` (those of a `Cost`, in the order of its values).

        Infinite where there is no limit.

        Raises:
            ValueError: a budget's name is not among them.
        """
        if unknown := [budget.name for budget in self.limits if budget.name not in names]:
            raise ValueError(f"{', '.join(unknown)}: budgets, but not among the costs {', '.join(names)}")
        found = [self.get(name) for name in names]
        return tuple(
            (
                budget.name,
                -math.inf if budget.lower is None else budget.lower,
                math.inf if budget.upper is None else budget.upper,
            )
            for budget in found
        )

    def overshoot(self, cost: Cost) -> float:
        """By which shares of the limits the cost is outside them, added up: 0.0 for a child that fits.

        Raises:
            ValueError: the cost lacks a value that is budgeted.
        """
        return sum(budget.overshoot(cost[budget.name]) for budget in self.limits)

    def fits(self, cost: Cost) -> bool:
        """Whether the cost is within every budget."""
        return self.overshoot(cost) == 0.0

    def to_list(self) -> list[dict[str, Any]]:
        """Every budget as JSON values; from_list reads them back."""
        return [asdict(budget) for budget in self.limits]

    @classmethod
    def from_list(cls, values: Sequence[dict[str, Any]]) -> Budgets:
        """The budgets that to_list wrote."""
        return cls(tuple(Budget(each["name"], each["upper"], each["lower"]) for each in values))


def format_value(name: str, value: float | None) -> str:
    """A cost in words: counts with separators, the rest with four digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if name in ("num_parameters", "macs") else f"{value:.4g}"


def sampler_within(space: SearchSpace, fits: Callable[[Child], bool], fitting: Child) -> SampleChild:
    """A sampler of children that fit: uniform draws while one of them fits soon, else a repaired one.

    A draw is repaired by taking over operators of `fitting` (from `check_feasible`) at random positions until
    it fits, so that tight budgets cost no endless rejection; at the latest it fits when all are taken over.
    """

    def sample(rng: random.Random) -> Child:
        for _ in range(NUM_DRAWS_BEFORE_REPAIR):
            child = space.sample(rng)
            if fits(child):
                return child
        positions = list(range(space.num_positions))
        rng.shuffle(positions)
        for position in positions:
            child = (*child[:position], fitting[position], *child[position + 1 :])
            if fits(child):
                break
        return child

    return sample
