"""Rank statistics with bootstrap intervals, for what interference and ranking claim about a supernet.

A score that is constant ranks nothing: every correlation with it is 0 here, not NaN, so that a resample
without spread does not spoil an interval."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.9
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A statistic with its bootstrap interval at `CONFIDENCE`."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The three numbers for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b of two (n,) arrays, which allows for ties; 0 when one of them is constant.

    Takes n * n space. Equal to scipy's, without the p-value, which is what a bootstrap would wait for.
    """
    ours, theirs = (np.sign(values[:, None] - values[None, :]) for values in (first, second))
    untied = np.abs(ours).sum() * np.abs(theirs).sum()
    return float((ours * theirs).sum() / np.sqrt(untied)) if untied else 0.0


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two (n,) arrays; 0 when one of them is constant."""
    return _correlation(stats.spearmanr, first, second)


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two (n,) arrays; 0 when one of them is constant."""
    return _correlation(stats.pearsonr, first, second)


def _correlation(function: Callable[..., object], first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        value = float(function(first, second)[0])  # type: ignore[index]
    return value if np.isfinite(value) else 0.0


def partial_spearman(first: np.ndarray, second: np.ndarray, controls: Sequence[np.ndarray]) -> float:
    """Spearman's correlation of two (n,) arrays given others: of what a linear fit to their ranks leaves."""
    ranks = [stats.rankdata(control) for control in controls]
    design = np.column_stack([np.ones(len(first)), *ranks])  # (n, 1 + controls)

    def residual(values: np.ndarray) -> np.ndarray:
        ranked = stats.rankdata(values)
        left: np.ndarray = ranked - design @ np.linalg.lstsq(design, ranked, rcond=None)[0]
        # What rounding leaves of a variable that the controls explain wholly is no signal.
        return np.where(np.abs(left) < 1e-9 * len(left), 0.0, left)

    return pearson(residual(first), residual(second))


def top_k_regret(score: np.ndarray, truth: np.ndarray, k: int) -> float:
    """How much worse the best of the `k` best-scored is than the best of all; both are losses (n,)."""
    chosen = np.argsort(score, kind="stable")[:k]
    return float(truth[chosen].min() - truth.min())


def bootstrap(
    statistic: Callable[..., float],
    sizes: Sequence[int],
    seed: int,
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> Estimate:
    """The statistic of all rows, with the percentile interval over resampled rows (Efron 1979).

    `statistic` takes one index array a size, each resampled on its own: of children, and of seeds. A size of
    1 cannot be resampled and is passed as it is.
    """
    everything = [np.arange(size) for size in sizes]
    value = float(statistic(*everything))
    varied = [place for place, size in enumerate(sizes) if size > 1]
    if not varied:
        return Estimate(value, value, value)

    def resampled(*indices: np.ndarray) -> float:
        arguments = list(everything)
        for place, drawn in zip(varied, indices, strict=True):
            arguments[place] = drawn
        return float(statistic(*arguments))

    found = stats.bootstrap(
        tuple(everything[place] for place in varied),
        resampled,
        n_resamples=num_resamples,
        vectorized=False,
        paired=False,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))
