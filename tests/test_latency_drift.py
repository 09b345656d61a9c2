"""Laws of the machine's pace: what slows all contenders for a while leaves no trace in their medians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.latency.drift import steady_medians_ms
from bertcompress.measure import round_order


@given(
    costs=st.lists(st.floats(0.001, 0.1), min_size=1, max_size=9),
    drift=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=9),
)
@settings(max_examples=40, deadline=None)
def test_drift_that_all_contenders_share_is_taken_off(costs, drift):
    timings = {str(i): np.outer(drift, [cost] * 4) for i, cost in enumerate(costs)}
    steady = steady_medians_ms(timings)
    assert list(steady.values()) == pytest.approx([1000 * cost * np.median(drift) for cost in costs], rel=0.5)
    shares = np.array(list(steady.values())) / sum(steady.values())
    assert shares.tolist() == pytest.approx((np.array(costs) / sum(costs)).tolist())


def test_drift_is_taken_off_where_calls_also_scatter():
    """By turns, contenders that were hit by a slow round are as they were, but for their own noise."""
    generator, costs = np.random.default_rng(0), np.geomspace(0.001, 0.01, 12)
    drift = np.linspace(1, 1.5, 9)[:, None]
    timings = {
        str(i): cost * drift * (1 + 0.01 * generator.standard_normal((9, 4))) for i, cost in enumerate(costs)
    }
    steady = np.array(list(steady_medians_ms(timings).values())) / 1250
    assert steady.tolist() == pytest.approx(costs.tolist(), rel=0.02)


@pytest.mark.parametrize("num_contenders", [24, 72])
def test_slow_stretches_shorter_than_a_round_are_taken_off(num_contenders):
    """A neighbour that slows a third of every round, wherever it falls, leaves no trace in the medians."""
    generator, costs = np.random.default_rng(0), np.geomspace(0.001, 0.01, num_contenders)
    timings = {str(i): np.empty((9, 2)) for i in range(num_contenders)}
    for index in range(9):
        start = generator.integers(num_contenders)
        for place, contender in enumerate(round_order(num_contenders, index)):
            slow = 1.3 if (place - start) % num_contenders < num_contenders / 3 else 1.0
            scatter = 1 + 0.005 * generator.standard_normal(2)
            timings[str(contender)][index] = costs[contender] * slow * scatter
    steady = np.array(list(steady_medians_ms(timings).values())) / 1000
    shares = steady / costs
    assert (shares / np.median(shares)).tolist() == pytest.approx([1.0] * num_contenders, rel=0.01)
