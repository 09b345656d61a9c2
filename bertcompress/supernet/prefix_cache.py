"""Intermediate results of chains, kept by prefix and bounded in bytes, so that children share them.

A trie whose nodes are prefixes. When it is full, the node that is worth least goes: GreedyDual-Size-Frequency
(Cherkasova 1998, after Cao & Irani 1997). The worth of a node is the clock at its last use plus its number of
uses; the clock rises to the worth of whatever was dropped, so that old fame fades. Nodes are of about one
size, and one step away from their parents, so size and cost do not enter. Shallow prefixes are used most.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

Step = TypeVar("Step", bound=Hashable)


@dataclass
class _Node:
    states: list[Tensor]
    num_bytes: int
    num_uses: int
    worth: float


class PrefixCache(Generic[Step]):
    """The states (one tensor a batch) behind some prefixes; together never above `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"limit_bytes: {limit_bytes}; use 0 or more")
        self.limit_bytes = limit_bytes
        self.num_bytes = 0
        self.peak_bytes = 0
        self._clock = 0.0
        self._nodes: dict[tuple[Step, ...], _Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def longest(self, path: Sequence[Step]) -> tuple[int, list[Tensor] | None]:
        """The number of steps of `path` whose result is kept, and that result; (0, None) when none is."""
        for length in range(len(path), -1, -1):
            node = self._nodes.get(tuple(path[:length]))
            if node is not None:
                node.num_uses += 1
                node.worth = self._clock + node.num_uses
                return length, node.states
        return 0, None

    def keep(self, prefix: Sequence[Step], states: list[Tensor]) -> None:
        """Keep the result of `prefix`, unless it alone is above the bound; others may have to go."""
        # The whole storage counts: that is what a view keeps alive.
        num_bytes = sum(state.untyped_storage().nbytes() for state in states)
        if num_bytes > self.limit_bytes or tuple(prefix) in self._nodes:
            return
        while self.num_bytes + num_bytes > self.limit_bytes:
            self._drop_least()
        self._nodes[tuple(prefix)] = _Node(states, num_bytes, 1, self._clock + 1)
        self.num_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.num_bytes)

    def _drop_least(self) -> None:
        # Of equal worth the oldest goes: a dictionary keeps the order of entry.
        least = min(self._nodes, key=lambda prefix: self._nodes[prefix].worth)
        node = self._nodes.pop(least)
        self._clock = node.worth
        self.num_bytes -= node.num_bytes
