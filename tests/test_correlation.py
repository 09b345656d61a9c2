"""Rank correlations are those of the textbooks, and the bootstrap tells how far they can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bertcompress.diagnostics.correlation import bootstrap, kendall, partial_spearman, spearman, top_k_regret


@given(values=st.lists(st.floats(-10, 10), min_size=3, max_size=20, unique=True))
@settings(max_examples=50, deadline=None)
def test_rank_correlations_see_order_only(values: list[float]) -> None:
    first = np.array(values)
    order = first.argsort().argsort().astype(float)
    for correlation in (kendall, spearman):
        assert correlation(first, order) == pytest.approx(1)
        assert correlation(first, -order) == pytest.approx(-1)
        assert correlation(first, np.ones_like(first)) == 0


@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.floats(-9, 9)), min_size=3, max_size=30),
)
@settings(max_examples=50, deadline=None)
def test_kendall_is_scipys(pairs: list[tuple[int, float]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    expected = stats.kendalltau(first, second).statistic
    assert kendall(first, second) == pytest.approx(0 if np.isnan(expected) else expected, abs=1e-9)


def test_partial_correlation_takes_out_a_common_cause() -> None:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=400)
    first, second = cause + 0.1 * rng.normal(size=400), cause + 0.1 * rng.normal(size=400)
    assert spearman(first, second) > 0.9
    assert abs(partial_spearman(first, second, [cause])) < 0.15
    assert partial_spearman(first, first, [cause]) == pytest.approx(1)
    assert partial_spearman(cause, second, [cause]) == 0


def test_regret_falls_with_k_and_vanishes_for_the_truth_itself() -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.normal(size=20), rng.normal(size=20)
    regrets = [top_k_regret(score, truth, k) for k in (1, 3, 5, 20)]
    assert regrets == sorted(regrets, reverse=True)
    assert regrets[-1] == 0
    assert top_k_regret(truth, truth, 1) == 0


def test_the_bootstrap_covers_the_spread_and_keeps_a_single_row() -> None:
    values = np.random.default_rng(0).normal(size=200)
    found = bootstrap(lambda rows: values[rows].mean(), [200], seed=0)
    expected = 1.645 * values.std() / 200**0.5
    assert found.high - found.value == pytest.approx(expected, rel=0.25)
    assert found.value - found.low == pytest.approx(expected, rel=0.25)
    assert bootstrap(lambda rows: float(rows[0]), [1], seed=0).to_dict() == {"value": 0, "low": 0, "high": 0}
    assert bootstrap(lambda rows: values[rows].mean(), [200], seed=0) == found
