"""A strategy is a sampler, how many of its children share an update, and what is added to their loss.

| word       | sampler         | children an update | added                     | source           |
| ---------- | --------------- | ------------------ | ------------------------- | ---------------- |
| `spos`     | UniformSampler  | 1                  |                           | arXiv 1904.00420 |
| `fair`     | FairSampler     | 1, or a round      |                           | arXiv 1907.01845 |
| `sandwich` | SandwichSampler | 3                  | the largest teaches two   | arXiv 2003.11142 |
| `magic-t`  | GradualSampler  | 1                  |                           | arXiv 2108.12821 |
| `magic-a`  | UniformSampler  | 1                  | alignment with the anchor | arXiv 2108.12821 |
| `magic-at` | GradualSampler  | 1                  | alignment with the anchor | arXiv 2108.12821 |

An update of several children costs as much as so many steps: compare strategies at equal time, too."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal

from torch import Tensor

from bertcompress.supernet.alignment import Alignment
from bertcompress.supernet.chain import Choices, Op
from bertcompress.supernet.samplers import (
    FairSampler,
    GradualSampler,
    Sampler,
    SandwichSampler,
    UniformSampler,
)

Imitation = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Strategy(Generic[Op]):
    """Which children a step trains, and on what besides the task's loss.

    With `imitation`, the first child of an update learns the task and teaches the others: where its loss on
    the batch is the lower one, `imitation(theirs, first child's)`, logits (B, C) each, is their loss. Where
    it knows less than its pupil, that one learns the task. The source lets it teach always; but there the
    largest child holds all others, while one of attentions does not hold one of convolutions, and from
    random weights learns later.
    """

    sampler: Sampler[Op]
    children_per_update: int = 1
    imitation: Imitation | None = None
    alignment: Alignment[tuple[Op, ...]] | None = None


@dataclass(frozen=True)
class StrategySettings(Generic[Op]):
    """What strategies are made of; each reads what it needs. `largest` and `smallest` are children."""

    choices: Choices[Op]
    rng: random.Random
    accepts: Callable[[tuple[Op, ...]], bool] = lambda child: True
    replaced_positions: int = 1
    fair_update: Literal["separate", "accumulated"] = "separate"
    largest: tuple[Op, ...] = ()
    smallest: tuple[Op, ...] = ()
    imitation: Imitation | None = None
    alignment: Alignment[tuple[Op, ...]] | None = None

    def uniform(self) -> UniformSampler[Op]:
        """Any child."""
        return UniformSampler(self.choices, self.rng, accepts=self.accepts)

    def gradual(self) -> GradualSampler[Op]:
        """A neighbour of the last child."""
        return GradualSampler(
            self.choices, self.rng, accepts=self.accepts, replaced_positions=self.replaced_positions
        )


def _fair(settings: StrategySettings[Op]) -> Strategy[Op]:
    sampler = FairSampler(settings.choices, settings.rng)
    return Strategy(sampler, sampler.round_length if settings.fair_update == "accumulated" else 1)


def _sandwich(settings: StrategySettings[Op]) -> Strategy[Op]:
    if settings.imitation is None:
        raise ValueError("sandwich needs the loss by which its children imitate the largest")
    sampler = SandwichSampler(
        settings.choices,
        settings.rng,
        largest=settings.largest,
        smallest=settings.smallest,
        accepts=settings.accepts,
    )
    return Strategy(sampler, sampler.round_length, imitation=settings.imitation)


def _aligned(sampler: Sampler[Op], alignment: Alignment[tuple[Op, ...]] | None) -> Strategy[Op]:
    if alignment is None:
        raise ValueError("magic-a and magic-at need an alignment")
    return Strategy(sampler, alignment=alignment)


STRATEGIES: dict[str, Callable[[StrategySettings[Any]], Strategy[Any]]] = {
    "spos": lambda settings: Strategy(settings.uniform()),
    "fair": _fair,
    "sandwich": _sandwich,
    "magic-t": lambda settings: Strategy(settings.gradual()),
    "magic-a": lambda settings: _aligned(settings.uniform(), settings.alignment),
    "magic-at": lambda settings: _aligned(settings.gradual(), settings.alignment),
}
