"""Gradual modification: adjacent training steps differ in one operator (MAGIC-T).

Xu et al. 2022, arXiv 2108.12821, section 4.1."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Generic

from bertcompress.data.random_state import random_state, set_random_state
from bertcompress.errors import SpaceError
from bertcompress.supernet.chain import Choices, Op, as_indices, from_indices
from bertcompress.supernet.samplers.uniform import MAX_REJECTIONS, UniformSampler


class GradualSampler(Generic[Op]):
    """The last child with the operators of exactly `replaced_positions` positions replaced.

    Positions are drawn uniformly among those with a choice, then another operator for each, so a replacement
    is never a no-op. `accepts` keeps the walk inside the budgets: rejected neighbours are drawn again.

    Children are told apart by placement, not by the network that they are without identities: weights belong
    to an operator and its position, so moving an operator past an identity trains other weights. With one
    replaced position this never happens: then adjacent children are different networks, too.

    Raises:
        SpaceError: too few positions have a second operator, or 10,000 neighbours in a row break a budget.
    """

    def __init__(
        self,
        choices: Choices[Op],
        rng: random.Random,
        *,
        accepts: Callable[[tuple[Op, ...]], bool] = lambda child: True,
        replaced_positions: int = 1,
    ) -> None:
        self._choices = [tuple(position) for position in choices]
        self._rng, self._accepts, self._replaced = rng, accepts, replaced_positions
        self._free = [index for index, position in enumerate(self._choices) if len(set(position)) > 1]
        self._last: tuple[Op, ...] | None = None
        if not 1 <= replaced_positions <= len(self._free):
            raise SpaceError(
                f"sampling: magic-t cannot replace {replaced_positions} operators: {len(self._free)} of "
                f"{len(self._choices)} positions have at least two operators to choose from; set "
                "supernet.replaced_positions to 1 or more, but not more than those"
            )

    def next_child(self) -> tuple[Op, ...]:
        if self._last is None:
            self._last = UniformSampler(self._choices, self._rng, accepts=self._accepts).next_child()
            return self._last
        for _ in range(MAX_REJECTIONS):
            child = self._neighbour(self._last)
            if self._accepts(child):
                self._last = child
                return child
        raise SpaceError(
            f"sampling: every neighbour of {'-'.join(str(operator) for operator in self._last)} breaks a "
            "budget; widen the budgets, or set supernet.sample_within_budget to false"
        )

    def _neighbour(self, child: tuple[Op, ...]) -> tuple[Op, ...]:
        changed = list(child)
        for position in self._rng.sample(self._free, self._replaced):
            others = [operator for operator in self._choices[position] if operator != child[position]]
            changed[position] = self._rng.choice(others)
        return tuple(changed)

    def state(self) -> dict[str, Any]:
        last = None if self._last is None else as_indices(self._choices, self._last)
        return {"rng": random_state(self._rng), "last": last}

    def restore(self, state: Mapping[str, Any]) -> None:
        set_random_state(self._rng, state["rng"])
        self._last = None if state["last"] is None else from_indices(self._choices, state["last"])
