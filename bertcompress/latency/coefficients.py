"""The regression behind a latency table: a cost per term, and what weights cost that no cache holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from bertcompress.errors import BudgetError
from bertcompress.latency.chains import Term, counts_matrix, terms_of
from bertcompress.space import Child, Operator, Pooling

Array = NDArray[np.float64]

FLOOR_OF_MEDIAN = 0.25
# Numbers of weights that a cache may hold are tried at these quantiles of the chains' own.
TRIED_QUANTILES = np.linspace(0.05, 0.8, 16)
# An operator that computes the first token only reads its weights in half the time that others take.
SHARE_FOR_ONE_TOKEN = 0.5
# Weights beyond the cache get a price where that takes a fifth off the error on chains left out, or more.
MOST_OF_PLAIN_ERROR = 0.8


@dataclass(frozen=True)
class Streaming:
    """What a network's weights cost beyond the number that a cache holds from one call to the next.

    They are read from memory, or from a slower cache, at every call: `ms_per_million` for each million over
    `cached`. `weights` is the number of them by term, of which SHARE_FOR_ONE_TOKEN counts where an operator
    computes the first token only.
    """

    cached: float
    ms_per_million: float
    weights: Mapping[str, float]

    def excess_ms(self, counts: Mapping[str, int]) -> float:
        """What the weights of so many terms by name add to their costs; below zero, what room they leave."""
        # Summed by name: equal sets of terms cost exactly the same, in any order.
        total = sum(counts[name] * number for name, number in self.weights.items() if name in counts)
        return (total - self.cached) / 1e6 * self.ms_per_million


@dataclass(frozen=True)
class Coefficients:
    """An intercept and the costs of terms by name, whose sum over a network's terms is its latency.

    With `streaming` that is so while its weights stay in the cache, and more is added beyond.
    """

    intercept_ms: float
    costs_ms: Mapping[str, float]
    streaming: Streaming | None = None

    def predict_ms(self, chain: Sequence[Operator], pooling: Pooling) -> float:
        """Latency of a canonical chain: the largest of `sums_ms`.

        Raises:
            BudgetError: a term has no cost.
        """
        return max(self.sums_ms(chain, pooling))

    def sums_ms(self, chain: Sequence[Operator], pooling: Pooling) -> tuple[float, ...]:
        """The latency with all weights in the cache and, with streaming, as if all passed what it holds.

        Each is a sum over the chain's terms, which the larger of the two is not: search needs sums.

        Raises:
            BudgetError: a term has no cost.
        """
        counts = Counter(term.name for term in terms_of(chain, pooling))
        unknown = sorted(set(counts) - set(self.costs_ms))
        if unknown:
            known = ", ".join(self.costs_ms)
            raise BudgetError(f"latency table: no cost for {', '.join(unknown)}; it holds {known}")
        cached = self.intercept_ms + sum(
            counts[name] * cost for name, cost in self.costs_ms.items() if name in counts
        )
        return (cached,) if self.streaming is None else (cached, cached + self.streaming.excess_ms(counts))


def fit_coefficients(
    chains: Sequence[Child],
    latencies_ms: Sequence[float],
    terms: Sequence[Term],
    pooling: Pooling,
    *,
    weights: Mapping[str, int] | None = None,
    monotonic: bool = False,
) -> Coefficients:
    """Intercept and cost per term, none below zero, with the least squared relative error.

    The error of a chain far below the median counts relative to a share of that: the weights of a tiny
    network stay in the nearest cache, and its operators are cheaper there than in most networks of the space.

    With `weights`, the number of them by operator, those that no cache holds get a price where chains left
    out say that there is one (see MOST_OF_PLAIN_ERROR): the number held is the one with which each chain is
    best predicted by all others.

    With `monotonic` an operator costs no less than a smaller one of its kind: where sizes are many and chains
    few, the noise would otherwise order them.
    """
    measured = np.asarray(latencies_ms, dtype=np.float64)
    scale = np.maximum(measured, FLOOR_OF_MEDIAN * np.median(measured))
    sums = _sums_of_increases(terms) if monotonic else np.eye(1 + len(terms))
    counts = counts_matrix(chains, terms, pooling)
    rows, target = counts @ sums / scale[:, None], measured / scale
    read = np.array([_weights_read(term, weights or {}) for term in terms])
    loads = counts[:, 1:] @ read
    cached = _find_cached(rows, target, scale, loads)
    solution, _ = nnls(rows if cached is None else _with_excess(rows, scale, loads, cached), target)
    found = sums @ solution[: 1 + len(terms)]
    names = [term.name for term in terms]
    streaming = None
    if cached is not None:
        streaming = Streaming(cached, float(solution[-1]), dict(zip(names, read.tolist(), strict=True)))
    return Coefficients(float(found[0]), dict(zip(names, found[1:].tolist(), strict=True)), streaming)


def _weights_read(term: Term, weights: Mapping[str, int]) -> float:
    return weights.get(term.operator.name, 0) * (SHARE_FOR_ONE_TOKEN if term.first_token else 1.0)


def _find_cached(rows: Array, target: Array, scale: Array, loads: Array) -> float | None:
    """How many weights a cache holds, by chains that read `loads` of them; None where they do not show it."""
    most = MOST_OF_PLAIN_ERROR * _error_on_left_out(rows, target)
    tried = np.unique(np.quantile(loads, TRIED_QUANTILES)).tolist()
    errors = [_error_on_left_out(_with_excess(rows, scale, loads, cached), target) for cached in tried]
    best = int(np.argmin(errors))
    return tried[best] if errors[best] < most else None


def _with_excess(rows: Array, scale: Array, loads: Array, cached: float) -> Array:
    """The rows with a column of millions of weights beyond those held."""
    return np.column_stack([rows, np.maximum(0.0, loads - cached) / 1e6 / scale])


def _error_on_left_out(rows: Array, target: Array) -> float:
    """Mean absolute error of each row's prediction by the fit on all others."""
    kept = ~np.eye(len(rows), dtype=bool)
    predicted = [row @ nnls(rows[others], target[others])[0] for row, others in zip(rows, kept, strict=True)]
    return float(np.mean(np.abs(np.array(predicted) - target)))


def _sums_of_increases(terms: Sequence[Term]) -> Array:
    """The matrix from the intercept and each term's increase over the next smaller one to the costs."""
    sums = np.eye(1 + len(terms))
    sums[1:, 1:] = np.array([[one.includes(other) for other in terms] for one in terms], dtype=np.float64)
    return sums
