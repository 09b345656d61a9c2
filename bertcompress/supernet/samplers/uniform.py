"""Single-path one-shot: every child is equally likely. Guo et al. 2020, arXiv 1904.00420, section 3.1."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Generic

from bertcompress.data.random_state import random_state, set_random_state
from bertcompress.errors import SpaceError
from bertcompress.supernet.chain import Choices, Op

MAX_REJECTIONS = 10_000


class UniformSampler(Generic[Op]):
    """Every position's operator uniformly at random.

    `accepts` keeps children that the budgets allow; rejected ones are drawn again.

    Raises:
        SpaceError: `accepts` refused 10,000 children in a row.
    """

    def __init__(
        self,
        choices: Choices[Op],
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

    def state(self) -> dict[str, Any]:
        return {"rng": random_state(self._rng)}

    def restore(self, state: Mapping[str, Any]) -> None:
        set_random_state(self._rng, state["rng"])
