"""The Pareto front: what no other item beats on every value at once, all values to be kept small."""

from __future__ import annotations

import math
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


def crowding_distances(points: Sequence[Sequence[float]]) -> list[float]:
    """How far apart each point's neighbours are, over the range of each value, added up (Deb et al. 2002).

    Infinite for the points at an end of some value's range.
    """
    distances = [0.0] * len(points)
    for value in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda index: points[index][value])
        lowest, highest = points[order[0]][value], points[order[-1]][value]
        if highest == lowest:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            distances[index] += (points[after][value] - points[before][value]) / (highest - lowest)
    return distances
