"""Budgets, what a child costs, and the proof before any training that some child fits.

Parameters and predicted latency are sums over the positions, so the cheapest children are found exactly: the
Pareto front of the costs is grown position by position, and what is dominated so far can never win later.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from bertcompress.errors import BudgetError
from bertcompress.search.pareto import pareto_front
from bertcompress.space import Child, SearchSpace

NUM_ADDITIVITY_CHECKS = 8
NUM_DRAWS_BEFORE_REPAIR = 20


@dataclass(frozen=True)
class Cost:
    """What a child costs; `latency_ms` is None where no latency is asked for."""

    num_parameters: int
    latency_ms: float | None = None

    @property
    def values(self) -> tuple[int, float]:
        """Both costs as numbers to compare; an unknown latency counts as zero for every child alike."""
        return self.num_parameters, self.latency_ms or 0.0


CostOf: TypeAlias = Callable[[Child], Cost]
SampleChild: TypeAlias = Callable[[random.Random], Child]


@dataclass(frozen=True)
class Budgets:
    """The most a child may cost; None leaves that cost free."""

    num_parameters: int | None = None
    latency_ms: float | None = None

    def overshoot(self, cost: Cost) -> float:
        """By which shares of the budgets the cost is above them, added up: 0.0 for a child that fits."""
        total = 0.0
        if self.num_parameters is not None:
            total += max(0.0, (cost.num_parameters - self.num_parameters) / self.num_parameters)
        if self.latency_ms is not None:
            if cost.latency_ms is None:
                raise ValueError("a latency budget needs a cost with latency_ms")
            total += max(0.0, (cost.latency_ms - self.latency_ms) / self.latency_ms)
        return total

    def fits(self, cost: Cost) -> bool:
        """Whether the cost is within every budget."""
        return self.overshoot(cost) == 0.0

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class PricedChild:
    """A child, placed on the space's positions, and its cost."""

    child: Child
    cost: Cost

    @property
    def name(self) -> str:
        """The chain in words, identities included."""
        return "-".join(operator.name for operator in self.child)


def cheapest_children(space: SearchSpace, cost_of: CostOf, rng: random.Random) -> list[PricedChild]:
    """The exact Pareto front of (parameters, latency), from the fewest parameters to the least latency.

    Raises:
        ValueError: the costs are not sums over the positions, as `rng`'s children show.
    """
    start = space.smallest()
    start_parameters, start_latency = cost_of(start).values
    front: list[tuple[int, float, Child]] = [(start_parameters, start_latency, ())]
    added: list[dict[str, tuple[int, float]]] = []
    for position, operators in enumerate(space.choices):
        added.append({})
        for operator in operators:
            changed = (*start[:position], operator, *start[position + 1 :])
            parameters, latency = cost_of(changed).values
            added[-1][operator.name] = (parameters - start_parameters, latency - start_latency)
        longer = [
            (
                parameters + added[-1][operator.name][0],
                latency + added[-1][operator.name][1],
                (*head, operator),
            )
            for parameters, latency, head in front
            for operator in operators
        ]
        front = pareto_front(longer, lambda entry: entry[:2])
    for child in (space.sample(rng) for _ in range(NUM_ADDITIVITY_CHECKS)):
        steps = [added[position][operator.name] for position, operator in enumerate(child)]
        expected = (
            start_parameters + sum(step[0] for step in steps),
            start_latency + sum(step[1] for step in steps),
        )
        if not all(
            math.isclose(a, b, rel_tol=1e-6) for a, b in zip(expected, cost_of(child).values, strict=True)
        ):
            raise ValueError(f"costs are not sums over positions: {expected} expected of {child}")
    return [PricedChild(child, cost_of(child)) for _, _, child in front]


def check_feasible(space: SearchSpace, cost_of: CostOf, budgets: Budgets, rng: random.Random) -> Child:
    """A child that fits the budgets, found exactly and without training; the proof that search can succeed.

    Raises:
        BudgetError: no child fits; names the smallest reachable values and the children that reach them.
    """
    cheapest = cheapest_children(space, cost_of, rng)
    fitting = [priced for priced in cheapest if budgets.fits(priced.cost)]
    if fitting:
        return fitting[0].child
    problems = _single_problems(cheapest, budgets) or _joint_problems(cheapest, budgets)
    raise BudgetError.from_problems("budget", problems)


def _single_problems(cheapest: list[PricedChild], budgets: Budgets) -> list[str]:
    problems = []
    fewest, fastest = cheapest[0], cheapest[-1]
    if budgets.num_parameters is not None and fewest.cost.num_parameters > budgets.num_parameters:
        problems.append(
            f"num_parameters: {budgets.num_parameters:,} is below the smallest reachable,"
            f" {fewest.cost.num_parameters:,} by {fewest.name}; raise it or allow smaller operators"
        )
    if budgets.latency_ms is not None and fastest.cost.values[1] > budgets.latency_ms:
        problems.append(
            f"latency_ms: {budgets.latency_ms:.4g} is below the smallest reachable,"
            f" {fastest.cost.latency_ms:.4g} by {fastest.name}; raise it or allow smaller operators"
        )
    return problems


def _joint_problems(cheapest: list[PricedChild], budgets: Budgets) -> list[str]:
    # Each budget can be met alone, so both are set and the front crosses from one to the other.
    fast = next(p for p in cheapest if Budgets(latency_ms=budgets.latency_ms).fits(p.cost))
    small = next(p for p in reversed(cheapest) if Budgets(budgets.num_parameters).fits(p.cost))
    return [
        f"num_parameters: {budgets.num_parameters:,} cannot be met together with latency_ms"
        f" {budgets.latency_ms:.4g}; within that latency the fewest are {fast.cost.num_parameters:,}"
        f" by {fast.name}",
        f"latency_ms: within {budgets.num_parameters:,} parameters the least is"
        f" {small.cost.latency_ms:.4g} by {small.name}; raise one of the two",
    ]


def sampler_within(space: SearchSpace, fits: Callable[[Child], bool], fitting: Child) -> SampleChild:
    """A sampler of children that fit: uniform draws while one of them fits soon, else a repaired one.

    A draw is repaired by taking over operators of `fitting` (from `check_feasible`) at random positions until
    it fits, so that tight budgets cost no endless rejection.
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
