"""Intermediate results of chains, kept by prefix and bounded in bytes, so that children share them.

When it is full, what was least recently used goes. Whoever uses a prefix uses all shorter ones with it, so of
one chain the deepest prefix, which the fewest children share, goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from torch import Tensor

Step = TypeVar("Step", bound=Hashable)


class PrefixCache(Generic[Step]):
    """The states (one tensor a batch) behind some prefixes; together never above `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"limit_bytes: {limit_bytes}; use 0 or more")
        self.limit_bytes = limit_bytes
        self.num_bytes = 0
        self.peak_bytes = 0
        self._states: OrderedDict[tuple[Step, ...], list[Tensor]] = (
            OrderedDict()
        )  # the next to go comes first

    def __len__(self) -> int:
        return len(self._states)

    def longest(self, path: Sequence[Step]) -> tuple[int, list[Tensor] | None]:
        """Return the number of steps of `path` whose result is kept, and that result; or (0, None)."""
        kept = [length for length in range(len(path), -1, -1) if tuple(path[:length]) in self._states]
        for length in kept:
            self._states.move_to_end(tuple(path[:length]))
        return (kept[0], self._states[tuple(path[: kept[0]])]) if kept else (0, None)

    def keep(self, prefix: Sequence[Step], states: list[Tensor]) -> None:
        """Keep the result of `prefix`, unless it alone is above the bound; others may have to go."""
        num_bytes = _count_bytes(states)
        if num_bytes > self.limit_bytes or tuple(prefix) in self._states:
            return
        while self.num_bytes + num_bytes > self.limit_bytes:
            self.num_bytes -= _count_bytes(self._states.popitem(last=False)[1])
        self._states[tuple(prefix)] = states
        self.num_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.num_bytes)


def _count_bytes(states: Sequence[Tensor]) -> int:
    # The whole storage counts: that is what a view keeps alive.
    return sum(state.untyped_storage().nbytes() for state in states)
