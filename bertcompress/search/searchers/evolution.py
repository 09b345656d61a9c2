"""Evolution with ageing (Real et al. 2019), mutation and crossover as in SPOS (Guo et al. 2020).

arXiv 1802.01548 and 1904.00420. Most parents win a tournament of the population by constrained domination
(Deb et al. 2002, NSGA-II): a child that fits beats one that does not, of two that do not fit the smaller
overshoot wins, of two that fit the lower score. One in four is taken from the Pareto front over score and
costs of all that was scored, where it is least crowded, so that the whole front is found, not its best score
alone; the population forgets with age, the front does not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from bertcompress.search.budget import SampleChild
from bertcompress.search.driver import Evaluation
from bertcompress.search.pareto import crowding_distances, pareto_front
from bertcompress.space import Child, SearchSpace, canonical

NUM_ATTEMPTS = 20


class Evolution:
    """A population that forgets its oldest member; children descend from tournament winners and the front."""

    def __init__(
        self,
        space: SearchSpace,
        sample: SampleChild,
        population_size: int = 24,
        *,
        tournament_size: int = 6,
        crossover_probability: float = 0.3,
        front_probability: float = 0.25,
    ) -> None:
        if population_size < 2 or tournament_size < 1:
            raise ValueError(f"population of {population_size}, tournament of {tournament_size}: too small")
        self._space = space
        self._sample = sample
        self._population_size = population_size
        self._tournament_size = tournament_size
        self._crossover_probability = crossover_probability
        self._front_probability = front_probability
        self._population: list[Evaluation] = []  # oldest first
        self._front: list[Evaluation] = []
        self._crowding: list[float] = []
        self._seen: set[Child] = set()

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """`n` children that were not proposed before, as far as some are found within a few attempts."""
        return [self._propose(rng) for _ in range(n)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes children in and lets age out, those that do not fit before all others."""
        for evaluation in evaluations:
            self._seen.add(evaluation.child)
            if len(self._population) < self._population_size:
                self._population.append(evaluation)
                continue
            worst = max(self._population, key=lambda member: member.overshoot)
            if worst.overshoot > 0 and worst.overshoot >= evaluation.overshoot:
                self._population.remove(worst)
                self._population.append(evaluation)
            elif evaluation.overshoot == 0:
                self._population.pop(0)
                self._population.append(evaluation)
        fitting = [e for e in evaluations if e.overshoot == 0 and math.isfinite(e.score)]
        self._front = pareto_front([*self._front, *fitting], _objectives)
        self._crowding = crowding_distances([_objectives(member) for member in self._front])

    def _propose(self, rng: random.Random) -> Child:
        child = self._sample(rng)
        for _ in range(NUM_ATTEMPTS):
            if len(self._population) == self._population_size:
                child = self._descendant(rng)
            if canonical(child) not in self._seen:
                break
            child = self._sample(rng)
        self._seen.add(canonical(child))
        return child

    def _descendant(self, rng: random.Random) -> Child:
        child = self._parent(rng)
        if rng.random() < self._crossover_probability:
            other = self._parent(rng)
            child = tuple(rng.choice(pair) for pair in zip(child, other, strict=True))
        return self._mutated(child, rng)

    def _parent(self, rng: random.Random) -> Child:
        if self._front and rng.random() < self._front_probability:
            first, second = rng.randrange(len(self._front)), rng.randrange(len(self._front))
            roomier = first if self._crowding[first] >= self._crowding[second] else second
            return self._front[roomier].placed
        size = min(self._tournament_size, len(self._population))
        winner = min(
            rng.sample(self._population, size),
            key=lambda member: (member.overshoot, member.score, member.cost.values),
        )
        return winner.placed

    def _mutated(self, child: Child, rng: random.Random) -> Child:
        """The child with one operator changed for sure, and each other one with the same small chance."""
        mutable = [position for position, operators in enumerate(self._space.choices) if len(operators) > 1]
        if not mutable:
            return child
        certain = rng.choice(mutable)
        operators = list(child)
        for position in mutable:
            if position == certain or rng.random() < 1 / (2 * len(mutable)):
                others = [o for o in self._space.choices[position] if o != operators[position]]
                operators[position] = rng.choice(others)
        return tuple(operators)


def _objectives(evaluation: Evaluation) -> tuple[float, ...]:
    return (evaluation.score, *evaluation.cost.values)
