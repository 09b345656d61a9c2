"""The Pareto front: what no other item beats on every value at once, all values to be kept small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether `first` is at least as small everywhere and smaller somewhere."""
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pareto_front(items: Iterable[Item], values_of: Callable[[Item], tuple[float, ...]]) -> list[Item]:
    """The items that none dominates, by increasing first value; of items with equal values, the first."""
    front: list[tuple[tuple[float, ...], Item]] = []
    # In lexicographic order an item can only be dominated by one that came before it.
    for values, item in sorted(((values_of(item), item) for item in items), key=lambda pair: pair[0]):
        if not any(all(a <= b for a, b in zip(kept, values, strict=True)) for kept, _ in front):
            front.append((values, item))
    return [item for _, item in front]
