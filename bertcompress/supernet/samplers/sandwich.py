"""The sandwich rule: the largest child, the smallest, and a random one between them.

Yu and Huang 2019, arXiv 1903.05134; as used by BigNAS, Yu et al. 2020, arXiv 2003.11142."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Generic

from bertcompress.supernet.chain import Choices, Op
from bertcompress.supernet.samplers.uniform import UniformSampler


class SandwichSampler(Generic[Op]):
    """`largest`, `smallest`, random, over and over; the three of a round belong into one update.

    Only the random child keeps to `accepts`: the largest, which the others learn from, is above most budgets.
    """

    round_length = 3

    def __init__(
        self,
        choices: Choices[Op],
        rng: random.Random,
        *,
        largest: tuple[Op, ...],
        smallest: tuple[Op, ...],
        accepts: Callable[[tuple[Op, ...]], bool] = lambda child: True,
    ) -> None:
        self._ends = (largest, smallest)
        self._between = UniformSampler(choices, rng, accepts=accepts)
        self._place = 0

    def next_child(self) -> tuple[Op, ...]:
        place, self._place = self._place, (self._place + 1) % self.round_length
        return self._ends[place] if place < len(self._ends) else self._between.next_child()

    def state(self) -> dict[str, Any]:
        return {"between": self._between.state(), "place": self._place}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._between.restore(state["between"])
        self._place = state["place"]
