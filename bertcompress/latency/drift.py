"""The drift of the machine's speed while networks are timed together, and their times without it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import median_filter

from bertcompress.measure import round_order

# The drift is the median over this many turns in a row, each held against what its contender takes.
WINDOW = 9
PASSES = 10


def steady_medians_ms(timings: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Median milliseconds of contenders timed together, (turns, calls), at the machine's usual speed.

    What slows most of the turns in a stretch of time is taken off all of them: a robust fit of time =
    contender x drift, with drift a running median over the turns as they came, and one by the median.
    """
    if not timings:
        return {}
    calls = np.array(list(timings.values()), dtype=np.float64)  # (contenders, turns, calls)
    turns = np.log(np.maximum(np.median(calls, axis=2), np.finfo(np.float64).tiny))
    orders = np.array([round_order(len(turns), index) for index in range(turns.shape[1])])
    came = (orders, np.arange(len(orders))[:, None])  # (rounds, places) of `turns`, as time went
    drift = np.zeros_like(turns)
    for _ in range(PASSES):
        residuals = turns - np.median(turns - drift, axis=1, keepdims=True)
        drift[came] = median_filter(residuals[came].ravel(), WINDOW, mode="nearest").reshape(orders.shape)
    steady = calls / np.exp(drift - np.median(drift))[:, :, None]
    medians = np.median(steady.reshape(len(calls), -1), axis=1) * 1000
    return dict(zip(timings, medians.tolist(), strict=True))
