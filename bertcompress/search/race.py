"""Race entrants in rungs: each rung trains longer than the last, and the worse entrants leave after it.

Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943; Li et al. 2018, arXiv 1603.06560). A rung
is a whole training on its share of the steps, its schedule included, so that its score needs no look ahead
and a killed race repeats no finished training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from bertcompress.space import Child, child_name

ScoreRung: TypeAlias = "Callable[[Sequence[Entrant], Rung], Iterable[tuple[Entrant, float]]]"


@dataclass(frozen=True)
class Entrant:
    """A child that races, and who proposed it, e.g. "supernet" or "hand design"."""

    child: Child
    origin: str

    @property
    def name(self) -> str:
        """The chain in words."""
        return child_name(self.child)


@dataclass(frozen=True)
class Rung:
    """A round of the race: how many entrants train, and for which share of a full training."""

    num_entrants: int
    share: float


@dataclass(frozen=True)
class Placing:
    """Where an entrant ended: the last rung that it trained in, and its score there (lower is better)."""

    entrant: Entrant
    rung: Rung
    score: float


def plan_rungs(num_entrants: int, num_finalists: int, shares: Sequence[float]) -> tuple[Rung, ...]:
    """Return a rung for each share; their sizes fall geometrically from all entrants to the finalists.

    >>> [rung.num_entrants for rung in plan_rungs(18, 2, (0.1, 0.3, 1.0))]
    [18, 6, 2]

    Raises:
        ValueError: the shares do not rise to 1, or there are fewer entrants than finalists.
    """
    if not shares or shares[-1] != 1 or shares[0] <= 0 or any(a >= b for a, b in pairwise(shares)):
        raise ValueError(f"shares {list(shares)}: use rising shares above 0 that end with 1")
    if not 1 <= num_finalists <= num_entrants:
        raise ValueError(f"{num_finalists} finalists of {num_entrants} entrants: use 1 to {num_entrants}")
    ratio = (num_finalists / num_entrants) ** (1 / max(1, len(shares) - 1))
    sizes = [math.ceil(num_entrants * ratio**index - 1e-9) for index in range(len(shares))]
    sizes[-1] = num_finalists
    return tuple(Rung(size, share) for size, share in zip(sizes, shares, strict=True))


def race(
    entrants: Sequence[Entrant],
    rungs: Sequence[Rung],
    score_rung: ScoreRung,
    *,
    seeded: Sequence[str] = (),
) -> list[Placing]:
    """Run all rungs; return every entrant's placing: later rungs before earlier ones, then by score.

    `score_rung` trains entrants for a rung and gives each one's score, lower is better, in any order. The
    best entrant of every origin in `seeded` goes on to the last rung even where others beat it, beside those
    that earned a place: baselines have to be trained in full to be compared with.

    Raises:
        ValueError: two entrants have one chain.
    """
    names = [entrant.name for entrant in entrants]
    if len(set(names)) < len(names):
        raise ValueError(
            f"entrants of one chain: {sorted({name for name in names if names.count(name) > 1})}"
        )
    placings: dict[str, Placing] = {}
    racing = list(entrants)
    for rung in rungs:
        racing = _promoted(racing, placings, rung, seeded)
        for entrant, score in score_rung(racing, rung):
            placings[entrant.name] = Placing(entrant, rung, float(score))
    return sorted(placings.values(), key=lambda placing: (-placing.rung.share, _order(placing)))


def _promoted(
    racing: Sequence[Entrant], placings: dict[str, Placing], rung: Rung, seeded: Sequence[str]
) -> list[Entrant]:
    """Return the best entrants, as many as the rung has places, and the best of every seeded origin."""
    if not placings:
        return list(racing)
    ranked = sorted(racing, key=lambda entrant: _order(placings[entrant.name]))
    best_of = {origin: next((e for e in ranked if e.origin == origin), None) for origin in seeded}
    chosen = {entrant.name for entrant in [*ranked[: rung.num_entrants], *best_of.values()] if entrant}
    return [entrant for entrant in ranked if entrant.name in chosen]


def _order(placing: Placing) -> tuple[float, str]:
    """Order by score, a broken training (not a number) last; ties go by name, never by who ended first."""
    return (math.inf if math.isnan(placing.score) else placing.score, placing.entrant.name)
