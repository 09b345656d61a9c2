"""The regression behind a latency table: a cost per term, and what weights cost that no cache holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
# Of an operator that computes the first token only, such shares of its weights are tried to count.
TRIED_SHARES = (1.0, 0.5, 0.25, 0.0)
# Weights beyond the cache get a price where that takes a fifth off the error on chains left out, or more.
MOST_OF_PLAIN_ERROR = 0.8


@dataclass(frozen=True)
class Streaming:
    """What a network's weights cost beyond the number that a cache holds from one call to the next.

    They are read from memory, or from a slower cache, at every call: `ms_per_million` for each million over
    `cached`. `weights` is the number of them by term; where an operator computes the first token only, the
    share of them that is read as slowly.
    """

    cached: float
    ms_per_million: float
    weights: Mapping[str, float]

    def excess_ms(self, counts: Mapping[str, int]) -> float:
        """What the weights of so many terms by name add to their costs; below zero, what room they leave."""
        # Summed by name: equal sets of terms cost exactly the same, in any order.
        total = sum(counts[name] * number for name, number in self.weights.items() if name in counts)
        return (total - self.cached) / 1e6 * self.ms_per_million

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "weights": dict(self.weights)}


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
    growing: bool = False,
) -> Coefficients:
    """Intercept and cost per term, none below zero, with the least squared relative error.

    The error of a chain far below the median counts relative to a share of that: the weights of a tiny
    network stay in the nearest cache, and its operators are cheaper there than in most networks of the space.

    With `weights`, the number of them by operator, those that no cache holds get a price where chains left
    out say that there is one (see MOST_OF_PLAIN_ERROR): the number held is the one with which each chain is
    best predicted by all others, and so is the share that counts of an operator's for one token.

    With `growing` an operator costs no less than a smaller one of its kind: where sizes are many and chains
    few, the noise would otherwise order them.
    """
    measured = np.asarray(latencies_ms, dtype=np.float64)
    scale = np.maximum(measured, FLOOR_OF_MEDIAN * np.median(measured))
    sums = _sums_of_increases(terms) if growing else np.eye(1 + len(terms))
    counts = counts_matrix(chains, terms, pooling)
    rows, target = counts @ sums / scale[:, None], measured / scale
    reading = None if weights is None else _find_reading(rows, target, scale, counts, terms, weights)
    excess = [] if reading is None else [reading.excess(counts) / scale]
    solution, _ = nnls(np.column_stack([rows, *excess]), target)
    found = sums @ solution[: 1 + len(terms)]
    costs = {term.name: float(cost) for term, cost in zip(terms, found[1:], strict=True)}
    streaming = None
    if reading is not None:
        names = [term.name for term in terms]
        by_term = dict(zip(names, (reading.millions * 1e6).tolist(), strict=True))
        streaming = Streaming(reading.cached * 1e6, float(solution[-1]), by_term)
    return Coefficients(float(found[0]), costs, streaming)


@dataclass(frozen=True)
class _Reading:
    """A guess: what each term (terms,) reads in millions of weights, and how many a cache holds."""

    millions: Array
    cached: float

    def excess(self, counts: Array) -> Array:
        """Millions beyond those held, of chains with such counts (chains, 1 + terms)."""
        found: Array = np.maximum(0.0, counts[:, 1:] @ self.millions - self.cached)
        return found


def _find_reading(
    rows: Array,
    target: Array,
    scale: Array,
    counts: Array,
    terms: Sequence[Term],
    weights: Mapping[str, int],
) -> _Reading | None:
    """The guess with which chains left out are predicted best; None where it is no better than none."""
    whole = np.array([weights[term.operator.name] / 1e6 for term in terms])
    one_token = np.array([term.first_token for term in terms])
    shares = TRIED_SHARES if one_token.any() else (1.0,)
    guesses = [
        _Reading(millions, float(cached))
        for millions in (np.where(one_token, share * whole, whole) for share in shares)
        for cached in np.unique(np.quantile(counts[:, 1:] @ millions, TRIED_QUANTILES))
    ]
    errors = [
        _error_on_left_out(np.column_stack([rows, guess.excess(counts) / scale]), target) for guess in guesses
    ]
    best = int(np.argmin(errors))
    return guesses[best] if errors[best] < MOST_OF_PLAIN_ERROR * _error_on_left_out(rows, target) else None


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
