"""Operators are priced in whole children: by what the cache holds, and by the tokens that they compute."""

from __future__ import annotations

import pytest

from bertcompress.latency import LatencyTable
from bertcompress.latency.coefficients import Streaming
from bertcompress.measure import Conditions
from bertcompress.pipeline.operator_prices import OperatorPrices
from bertcompress.space import IDENTITY, Child, Operator, Pooling

MHA, FFN, CONV = Operator("mha", 2), Operator("ffn", 64), Operator("conv", 3)
COSTS = {"mha2": 1.0, "ffn64": 1.2, "conv3": 0.5}
FIRST_TOKEN = {"mha2 (first token)": 0.4, "ffn64 (first token)": 0.1, "conv3 (first token)": 0.2}
CHAINS: list[Child] = [(MHA, FFN, MHA, FFN), (CONV, FFN, MHA, IDENTITY), (IDENTITY, MHA, CONV, FFN)]


def prices(
    *, pooling: Pooling = "mean", streaming: Streaming | None = None, children: list[Child] = CHAINS
) -> OperatorPrices:
    costs = COSTS | (FIRST_TOKEN if pooling == "cls" else {})
    table = LatencyTable(
        Conditions(), "here", "wall", 3.0, costs, 4, 2, 10.0, None, pooling=pooling, streaming=streaming
    )
    return OperatorPrices({"latency_ms": table}, children)


@pytest.mark.parametrize("position", range(4))
def test_where_latency_is_a_plain_sum_the_price_is_the_operators_own_cost(position: int) -> None:
    found = prices()
    for operator in (MHA, FFN, CONV):
        assert found.ms("latency_ms", position, operator) == pytest.approx(COSTS[operator.name])
    assert found.all_ms(position, IDENTITY) == (0.0,)


def test_weights_beyond_the_cache_are_part_of_the_price() -> None:
    # The attention is cheaper by its own cost, and dearer with the weights that it reads from memory.
    weights = {"mha2": 4e6, "ffn64": 1e6, "conv3": 1e6}
    beyond = prices(streaming=Streaming(0.0, 0.2, weights))
    for operator in (MHA, FFN, CONV):
        expected = COSTS[operator.name] + weights[operator.name] / 1e6 * 0.2
        assert beyond.ms("latency_ms", 0, operator) == pytest.approx(expected)
    assert beyond.ms("latency_ms", 0, MHA) > beyond.ms("latency_ms", 0, FFN)
    within = prices(streaming=Streaming(1e9, 0.2, weights))
    assert within.ms("latency_ms", 0, MHA) == pytest.approx(COSTS["mha2"])


def test_an_operator_after_the_last_that_mixes_tokens_is_priced_for_one_token() -> None:
    found = prices(pooling="cls", children=[(MHA, FFN, MHA, FFN)])
    assert found.ms("latency_ms", 1, FFN) == pytest.approx(1.2)
    assert found.ms("latency_ms", 3, FFN) == pytest.approx(0.1)
    # A second attention at the end makes the one before it, and what is between, compute all tokens.
    assert found.ms("latency_ms", 2, MHA) == pytest.approx(0.4 + (1.0 - 0.4) + (1.2 - 0.1))


def test_the_error_is_a_share_of_the_children_s_mean_latency() -> None:
    mean_ms = (3 + 4.4 + 3 + 2.7 + 3 + 2.7) / 3
    assert prices().error_ms("latency_ms") == pytest.approx(0.1 * mean_ms)
