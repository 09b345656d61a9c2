"""Whether one model is better than another on the same test rows, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

SIGNIFICANCE = 0.05
NORMAL_95 = 1.96
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """A difference in metric, ours less theirs, with its 95% interval.

    `p_value` is McNemar's, exact, where it is known of each row who was right; otherwise it is None, and the
    interval is that of two samples drawn apart, which is wider than it needs to be on the same rows.
    """

    difference: float
    low: float
    high: float
    p_value: float | None

    @property
    def is_better(self) -> bool:
        """Whether ours is measurably better."""
        if self.p_value is not None:
            return self.difference > 0 and self.p_value < SIGNIFICANCE
        return self.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether ours is measurably worse."""
        return Comparison(-self.difference, -self.high, -self.low, self.p_value).is_better


def compare_rows(ours: Sequence[int], theirs: Sequence[int]) -> Comparison:
    """Compare by rows, 1 where the model was right: McNemar's exact test and a paired bootstrap interval.

    >>> compare_rows([1, 1, 1, 0], [1, 0, 1, 0]).difference
    0.25

    Raises:
        ValueError: the two have different numbers of rows, or none.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} rows against {len(theirs)}: give the answers to the same test rows")
    differences = np.asarray(ours, int) - np.asarray(theirs, int)
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    p_value = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    num_rows = len(differences)
    # Resampling rows only redraws how many were won, lost and tied: one multinomial draw a resample.
    shares = np.array([won, lost, num_rows - won - lost]) / num_rows
    drawn = np.random.default_rng(0).multinomial(num_rows, shares, size=NUM_RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / num_rows, [2.5, 97.5])
    return Comparison((won - lost) / num_rows, float(low), float(high), p_value)


def compare_shares(ours: float, theirs: float, num_rows: int) -> Comparison:
    """Compare two shares of right rows by their standard errors, where the rows themselves are not known.

    Raises:
        ValueError: `ours` or `theirs` is no share, or there are no rows.
    """
    if not (0 <= ours <= 1 and 0 <= theirs <= 1 and num_rows > 0):
        raise ValueError(f"{ours} and {theirs} on {num_rows} rows: shares between 0 and 1 are compared")
    error = math.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / num_rows)
    difference = ours - theirs
    return Comparison(difference, difference - NORMAL_95 * error, difference + NORMAL_95 * error, None)
