"""Evolution of the space itself: low scorers of a position give way to mutations of high scorers.

After AutoSpace (Zhou et al. 2021, arXiv 2103.11833): a differentiable fitness of every candidate is learnt
with the shared weights (`supernet.gating`), the unfit are replaced, a reference architecture stays in the
space, and costs count. There a candidate is a cell of a graph; here it is one operator of a chain, which any
hashable value can be. Ours are what is counted against a candidate (time that a cheaper and fitter one would
not take), and that a space without any child within the budgets is never come to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from bertcompress.search.pareto import dominates

Op = TypeVar("Op", bound=Hashable)
Choices: TypeAlias = tuple[tuple[Op, ...], ...]
Fate: TypeAlias = Literal["kept", "unfit", "unaffordable", "reference"]

LOST: tuple[Fate, ...] = ("unfit", "unaffordable")

FEWEST = 2  # operators of a position, below which there is no choice
AVERAGE = 1.0  # a position's mean relative fitness


@dataclass(frozen=True)
class Candidate(Generic[Op]):
    """One operator of a position, judged.

    `fitness` is relative: the position's mean is 1. `waste` is the share of the position's dearest operator's
    cost that `rival`, which is at least as fit and dearer in nothing, would save; 0 without such a rival.
    """

    operator: Op
    fitness: float
    waste: float
    rival: Op | None
    score: float


@dataclass(frozen=True)
class Change(Generic[Op]):
    """What one generation did to one position: its candidates from the best down, each with its fate.

    Dropped are the unfit, and the unaffordable, which no child within the budgets has there. "reference"
    scores below one that was dropped, but belongs to the reference architecture. `added` holds each new
    operator with the survivor that it is a mutation of.
    """

    candidates: tuple[Candidate[Op], ...]
    fates: tuple[Fate, ...]
    added: tuple[tuple[Op, Op], ...]

    @property
    def dropped(self) -> tuple[Op, ...]:
        """The operators that the position lost."""
        return tuple(
            candidate.operator
            for candidate, fate in zip(self.candidates, self.fates, strict=True)
            if fate in LOST
        )


@dataclass(frozen=True)
class Rules(Generic[Op]):
    """What evolution obeys.

    `feasible` says whether choices hold a child within the budgets, `mutations` gives the operators a step
    from one. A position's lowest `drop_share` is up for dropping, at least one operator. A candidate that
    wastes all of the dearest operator's cost loses `waste_weight` of the position's mean fitness.
    """

    reference: tuple[Op, ...]
    mutations: Callable[[Op], Sequence[Op]]
    feasible: Callable[[Choices[Op]], bool]
    drop_share: float = 1 / 3
    waste_weight: float = 0.2


def relative_fitness(logits: Mapping[Op, float]) -> dict[Op, float]:
    """Softmax over a position's logits, times their number: the mean is 1."""
    highest = max(logits.values())
    powers = {operator: math.exp(logit - highest) for operator, logit in logits.items()}
    mean = sum(powers.values()) / len(powers)
    return {operator: power / mean for operator, power in powers.items()}


def judge(
    logits: Mapping[Op, float], costs: Mapping[Op, Sequence[float]], waste_weight: float
) -> list[Candidate[Op]]:
    """A position's candidates from the best score down; `costs` has a value a measured latency."""
    fitness = relative_fitness(logits)
    dearest = [max(column) or 1.0 for column in zip(*(costs[operator] for operator in logits), strict=True)]
    judged = []
    for operator in logits:
        rivals = {
            other: _saving(costs[operator], costs[other], dearest)
            for other in logits
            if fitness[other] >= fitness[operator] and dominates(costs[other], costs[operator])
        }
        rival = max(rivals, key=rivals.__getitem__, default=None)
        waste = 0.0 if rival is None else rivals[rival]
        score = fitness[operator] - waste_weight * waste
        judged.append(Candidate(operator, fitness[operator], waste, rival, score))
    return sorted(judged, key=lambda candidate: -candidate.score)


def _saving(ours: Sequence[float], theirs: Sequence[float], dearest: Sequence[float]) -> float:
    shares = [(our - their) / most for our, their, most in zip(ours, theirs, dearest, strict=True)]
    return sum(shares) / len(shares)


def evolve(
    choices: Choices[Op],
    logits: Sequence[Mapping[Op, float]],
    costs: Sequence[Mapping[Op, Sequence[float]]],
    rules: Rules[Op],
    *,
    replace: bool,
    banned: Sequence[Collection[Op]],
    rng: random.Random,
) -> tuple[Choices[Op], list[Change[Op]]]:
    """Return the next generation's choices, and what was done to each position.

    `logits` and `costs` have a mapping a position: an operator may cost more at one position than at another.
    `banned` holds, for each position, what was dropped there before and does not come back. Without `replace`
    the dropped leave no successors, as befits the last generation, whose successors nobody would judge.
    """
    judged = [judge(*each, rules.waste_weight) for each in zip(logits, costs, strict=True)]
    fates: list[list[Fate]] = []
    for position, candidates in enumerate(judged):
        choices, found_fates = _drop(choices, position, candidates, rules)
        fates.append(found_fates)
    # Only now: what can be afforded beside an operator that is dropped later cannot be afforded in the end.
    changes = []
    for position, candidates in enumerate(judged):
        survivors = [c for c, fate in zip(candidates, fates[position], strict=True) if fate not in LOST]
        lost = {c.operator for c in candidates} - {c.operator for c in survivors}
        added: list[tuple[Op, Op]] = []
        for _ in range(len(lost) if replace else 0):
            found = _successor(choices, position, survivors, rules, {*lost, *banned[position]}, rng)
            if found is None:
                break
            added.append(found)
            choices = _with(choices, position, (*choices[position], found[0]))
        changes.append(Change(tuple(candidates), tuple(fates[position]), tuple(added)))
    return choices, changes


def _drop(
    choices: Choices[Op], position: int, candidates: Sequence[Candidate[Op]], rules: Rules[Op]
) -> tuple[Choices[Op], list[Fate]]:
    """Drop what no child can afford, then the lowest, but not the reference's and none above average.

    Two of those that are left stay at least, so one that some child within the budgets has, whether or not
    one can afford the reference's: choices that hold a child within the budgets still hold one.
    """
    protected = rules.reference[position]
    fates: list[Fate] = ["kept"] * len(candidates)
    for index, candidate in enumerate(candidates):
        alone = _with(choices, position, (candidate.operator,))
        if candidate.operator != protected and not rules.feasible(alone):
            fates[index] = "unaffordable"
    left = [index for index, fate in enumerate(fates) if fate == "kept"]
    num_up = max(0, min(max(1, int(rules.drop_share * len(left))), len(left) - FEWEST))
    free = [index for index in left if candidates[index].operator != protected]
    up = [index for index in free[len(free) - num_up :] if candidates[index].score < AVERAGE]
    for index in up:
        fates[index] = "unfit"
    for index in set(left) - set(free):
        if up and index > up[0]:
            fates[index] = "reference"
    lost = {c.operator for c, fate in zip(candidates, fates, strict=True) if fate in LOST}
    rest = tuple(operator for operator in choices[position] if operator not in lost)
    return _with(choices, position, rest), fates


def _successor(
    choices: Choices[Op],
    position: int,
    survivors: Sequence[Candidate[Op]],
    rules: Rules[Op],
    banned: Collection[Op],
    rng: random.Random,
) -> tuple[Op, Op] | None:
    """A new operator that some child within the budgets can have here, and its parent; None if none is left.

    The parent wins a tournament of two; if it has nothing new to give, the others follow from the best down.
    """
    first = max(rng.choices(survivors, k=2), key=lambda candidate: candidate.score)
    for parent in (first, *survivors):
        options = list(rules.mutations(parent.operator))
        for option in rng.sample(options, len(options)):
            is_new = option not in choices[position] and option not in banned
            if is_new and rules.feasible(_with(choices, position, (option,))):
                return option, parent.operator
    return None


def _with(choices: Choices[Op], position: int, operators: tuple[Op, ...]) -> Choices[Op]:
    return (*choices[:position], operators, *choices[position + 1 :])


@dataclass(frozen=True)
class FalseSaving(Generic[Op]):
    """An operator that counts less than `instead_of` and takes longer."""

    operator: Op
    instead_of: Op
    counted_saving: float  # share of the other's count
    measured_loss: float  # share of the other's time


def false_savings(
    operators: Iterable[Op],
    counted: Mapping[Op, float],
    measured: Mapping[Op, float],
    *,
    margin: float = 0.0,
) -> list[FalseSaving[Op]]:
    """Every pair in which the one that counts less takes longer, by more than `margin`, the worst first.

    `margin` has the unit of `measured`. What takes no time at all has no share to compare with.
    """
    known = list(operators)
    found = [
        FalseSaving(one, other, 1 - counted[one] / counted[other], measured[one] / measured[other] - 1)
        for one in known
        for other in known
        if counted[one] < counted[other] and 0 < measured[other] < measured[one] - margin
    ]
    return sorted(found, key=lambda saving: -saving.measured_loss)
