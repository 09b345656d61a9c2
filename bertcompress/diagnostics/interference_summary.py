"""What the comparisons and interventions say, with intervals: the numbers that the report prints and draws.

Operators of one pair of children are not independent, so intervals resample pairs, never single operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bertcompress.diagnostics.correlation import CONFIDENCE, Estimate, bootstrap, partial_spearman, spearman
from bertcompress.diagnostics.interference import Comparison
from bertcompress.diagnostics.intervention import MIXES, SIGNALS, Mixed

SIMILARITIES = ("input", "output", "output_gradient")
COLUMNS = (
    "distance",
    "distance_before",
    "cosine",
    "cosine_other_batch",
    *(f"{name}_similarity" for name in SIMILARITIES),
)
NUM_RESAMPLES = 300

Table = Mapping[str, np.ndarray]


def summarize_interference(comparisons: Sequence[Comparison], *, seed: int) -> dict[str, Any]:
    """Means by number of differing positions, and correlations of the gradients' cosine, as plain values.

    `partial` is given the number of differing positions; `given_others` also the two other similarities.

    Raises:
        ValueError: no comparison was made.
    """
    if not comparisons:
        raise ValueError("no pair of children shares an operator with weights")
    table = {name: np.array([getattr(row, name) for row in comparisons], dtype=float) for name in COLUMNS}
    pairs = np.array([row.pair for row in comparisons])
    kinds = np.array([row.kind for row in comparisons])
    distances = sorted({row.distance for row in comparisons})
    return {
        "num_pairs": len(set(pairs)),
        "num_comparisons": len(comparisons),
        "confidence": CONFIDENCE,
        "by_distance": _by_distance(table, pairs, seed),
        "nearest_minus_farthest": _estimate(
            lambda rows: _contrast(rows, distances[0], distances[-1]), table, pairs, seed
        ),
        "distance_spearman": _spearman("distance", "cosine", table, pairs, seed),
        "distance_spearman_other_batch": _spearman("distance", "cosine_other_batch", table, pairs, seed),
        "upstream_spearman": _partial("distance_before", ("distance",), table, pairs, seed),
        "similarities": {name: _similarity(name, table, pairs, seed) for name in SIMILARITIES},
        "kinds": {str(kind): _kind(table, pairs, kinds == kind, seed) for kind in sorted(set(kinds))},
    }


def _estimate(
    statistic: Callable[[Table], float], table: Table, pairs: np.ndarray, seed: int
) -> dict[str, float]:
    """A statistic of the rows, its interval over resampled pairs."""
    rows_of = [np.flatnonzero(pairs == pair) for pair in np.unique(pairs)]

    def of_pairs(drawn: np.ndarray) -> float:
        rows = np.concatenate([rows_of[index] for index in drawn])
        return statistic({name: column[rows] for name, column in table.items()})

    return bootstrap(of_pairs, [len(rows_of)], seed, num_resamples=NUM_RESAMPLES).to_dict()


def _contrast(rows: Table, near: int, far: int) -> float:
    means = [rows["cosine"][rows["distance"] == distance] for distance in (near, far)]
    # A resample may miss a distance; the overall mean stands in, so that it says "no difference".
    near_mean, far_mean = (part.mean() if len(part) else rows["cosine"].mean() for part in means)
    return float(near_mean - far_mean)


def _by_distance(table: Table, pairs: np.ndarray, seed: int) -> list[dict[str, Any]]:
    found = []
    for distance in np.unique(table["distance"]):
        chosen = table["distance"] == distance
        part = {name: column[chosen] for name, column in table.items()}
        found.append(
            {
                "distance": int(distance),
                "count": int(chosen.sum()),
                "cosine": _estimate(lambda rows: rows["cosine"].mean(), part, pairs[chosen], seed),
                "cosine_other_batch": float(part["cosine_other_batch"].mean()),
                "conflicting": float((part["cosine"] < 0).mean()),
                **{f"{name}_similarity": float(part[f"{name}_similarity"].mean()) for name in SIMILARITIES},
            }
        )
    return found


def _spearman(column: str, target: str, table: Table, pairs: np.ndarray, seed: int) -> dict[str, float]:
    return _estimate(lambda rows: spearman(rows[column], rows[target]), table, pairs, seed)


def _partial(
    column: str, controls: Sequence[str], table: Table, pairs: np.ndarray, seed: int
) -> dict[str, float]:
    return _estimate(
        lambda rows: partial_spearman(rows[column], rows["cosine"], [rows[name] for name in controls]),
        table,
        pairs,
        seed,
    )


def _similarity(name: str, table: Table, pairs: np.ndarray, seed: int) -> dict[str, Any]:
    column = f"{name}_similarity"
    others = [f"{other}_similarity" for other in SIMILARITIES if other != name]
    edges = np.quantile(table[column], (0.25, 0.5, 0.75))
    quarter = np.searchsorted(edges, table[column], side="right")
    return {
        "spearman": _spearman(column, "cosine", table, pairs, seed),
        "partial": _partial(column, ("distance",), table, pairs, seed),
        "given_others": _partial(column, ("distance", *others), table, pairs, seed),
        "quartile_cosines": [
            float(table["cosine"][quarter == index].mean()) if (quarter == index).any() else None
            for index in range(4)
        ],
    }


def _kind(table: Table, pairs: np.ndarray, chosen: np.ndarray, seed: int) -> dict[str, Any]:
    part = {name: column[chosen] for name, column in table.items()}
    return {
        "count": int(chosen.sum()),
        "cosine": float(part["cosine"].mean()),
        "distance_spearman": _spearman("distance", "cosine", part, pairs[chosen], seed),
        "by_distance": [
            {
                "distance": int(distance),
                "cosine": float(part["cosine"][part["distance"] == distance].mean()),
            }
            for distance in np.unique(part["distance"])
        ],
    }


def summarize_mixing(mixed: Sequence[Mixed], *, seed: int) -> dict[str, Any]:
    """Mean cosine at each mix of each signal, whether the means rise, and in what share of pairs they do."""
    found: dict[str, Any] = {"mixes": list(MIXES), "num_pairs": len({row.pair for row in mixed})}
    for signal in SIGNALS:
        rows = np.array([row.cosines for row in mixed if row.signal == signal])  # (pairs, mixes)
        if len(rows):
            found[signal] = _mixed_signal(rows, seed)
    return found


def _mixed_signal(rows: np.ndarray, seed: int) -> dict[str, Any]:
    def mean_at(column: int) -> Estimate:
        return bootstrap(
            lambda drawn: rows[drawn, column].mean(), [len(rows)], seed, num_resamples=NUM_RESAMPLES
        )

    def rise(drawn: np.ndarray) -> float:
        return float((rows[drawn, -1] - rows[drawn, 0]).mean())

    means = rows.mean(axis=0)
    return {
        "cosines": [mean_at(column).to_dict() for column in range(rows.shape[1])],
        "monotone": bool((np.diff(means) > 0).all()),
        "monotone_pairs": float((np.diff(rows, axis=1) > 0).all(axis=1).mean()),
        "rise": bootstrap(rise, [len(rows)], seed, num_resamples=NUM_RESAMPLES).to_dict(),
    }
