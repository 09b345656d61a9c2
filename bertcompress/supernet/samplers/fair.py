"""Strict fairness: in a round each operator of each position is trained equally often.

Chu et al. 2019, FairNAS, arXiv 1907.01845, algorithm 1; there a round's gradients are accumulated."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Generic

from bertcompress.data.random_state import random_state, set_random_state
from bertcompress.supernet.chain import Choices, Op


class FairSampler(Generic[Op]):
    """Every position deals its operators from a shuffled deck of its own, shuffled anew when it is empty.

    A round is `round_length` children: with m operators everywhere it is m, and each operator of each
    position comes exactly once in it. Where the choices differ in number it is their least common multiple,
    and an operator comes as often as those beside it. Budgets cannot hold: they would starve the large
    operators.
    """

    def __init__(self, choices: Choices[Op], rng: random.Random) -> None:
        self._choices = [tuple(position) for position in choices]
        self._rng = rng
        self._decks: list[list[Op]] = [[] for _ in self._choices]
        self.round_length = math.lcm(*(len(position) for position in self._choices))

    def next_child(self) -> tuple[Op, ...]:
        for deck, operators in zip(self._decks, self._choices, strict=True):
            if not deck:
                deck += self._rng.sample(operators, len(operators))
        return tuple(deck.pop() for deck in self._decks)

    def state(self) -> dict[str, Any]:
        decks = [
            [operators.index(operator) for operator in deck]
            for operators, deck in zip(self._choices, self._decks, strict=True)
        ]
        return {"rng": random_state(self._rng), "decks": decks}

    def restore(self, state: Mapping[str, Any]) -> None:
        set_random_state(self._rng, state["rng"])
        self._decks = [
            [operators[index] for index in deck]
            for operators, deck in zip(self._choices, state["decks"], strict=True)
        ]
