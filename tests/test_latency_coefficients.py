"""Laws of the regression behind a table: true costs are found again, and a noisy clock invents none."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_spaces import NAMES, make_space, names_of_a_space

from bertcompress.latency.chains import (
    counts_matrix,
    fitting_chains,
    heldout_chains,
    space_operators,
    space_terms,
    terms_of,
)
from bertcompress.latency.coefficients import Coefficients, Streaming, fit_coefficients
from bertcompress.latency.table import operator_weights, prediction_error
from bertcompress.space import Child, SearchSpace


def streaming_chains(space: SearchSpace, seed: int) -> tuple[Coefficients, list[Child]]:
    """Random costs with a price for the heavier half of the chains' weights, and chains to fit on.

    Of an operator for one token half of the weights count.
    """
    chains = fitting_chains(space, 24, random.Random(seed))
    of_operators, pooling = operator_weights(space), space.dimensions.pooling
    weights = {
        term.name: of_operators[term.operator.name] / (2 if term.first_token else 1)
        for term in space_terms(space)
    }
    cached = float(np.median([sum(weights[t.name] for t in terms_of(chain, pooling)) for chain in chains]))
    generator = np.random.default_rng(seed)
    costs = {term.name: float(generator.uniform(0.3, 1.5)) for term in space_terms(space)}
    # What lies beyond doubles the cost of a weight.
    streaming = Streaming(cached, 1e6 * sum(costs.values()) / sum(weights.values()), weights)
    return Coefficients(0.5, costs, streaming), chains


@given(num_positions=st.integers(6, 12), pooling=st.sampled_from(["mean", "cls"]), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_weights_that_no_cache_holds_have_a_price(num_positions, pooling, seed):
    space = make_space(num_positions, pooling=pooling)
    true, chains = streaming_chains(space, seed)
    noise = 1 + 0.005 * np.random.default_rng(seed).standard_normal(len(chains))
    measured = [true.predict_ms(chain, pooling) for chain in chains] * noise
    asked = heldout_chains(space, 24, random.Random(seed), known=chains)
    expected = [true.predict_ms(chain, pooling) for chain in asked]

    def error(weights):
        found = fit_coefficients(chains, measured, space_terms(space), pooling, weights=weights)
        return prediction_error([found.predict_ms(chain, pooling) for chain in asked], expected)[0]

    assert error(operator_weights(space)) < 0.5 * error(None)


@given(num_positions=st.integers(2, 12), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_no_price_is_given_to_weights_that_cost_nothing(num_positions, seed):
    space, terms = make_space(num_positions), space_terms(make_space(num_positions))
    chains = fitting_chains(space, 24, random.Random(seed))
    costs = np.random.default_rng(seed).uniform(0.3, 1.5, 1 + len(terms))
    measured = counts_matrix(chains, terms, "mean") @ costs
    found = fit_coefficients(chains, measured, terms, "mean", weights=operator_weights(space))
    predicted = [found.predict_ms(chain, "mean") for chain in chains]
    assert predicted == pytest.approx(measured, rel=1e-5)


@given(names=names_of_a_space, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_latency_is_the_larger_of_two_sums_over_its_operators(names, seed):
    space = make_space(6, [*names, "mha2"] if "mha2" not in names else names)
    true, _ = streaming_chains(space, seed)
    chain = space.sample(random.Random(seed))
    chain = tuple(operator for operator in chain if operator.kind != "identity")
    sums = np.array(true.sums_ms(chain, "mean"))
    assert true.predict_ms(chain, "mean") == sums.max()
    added = [np.array(true.sums_ms((operator,), "mean")) for operator in chain]
    empty = np.array(true.sums_ms((), "mean"))
    assert sums == pytest.approx(empty + sum(each - empty for each in added), rel=1e-9)
    weights = sum(true.streaming.weights[operator.name] for operator in chain)
    assert (sums[1] > sums[0]) == (weights > true.streaming.cached)


@given(
    names=names_of_a_space,
    num_positions=st.integers(2, 8),
    seed=st.integers(0, 9),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_costs_that_are_sums_are_found_again(names, num_positions, seed, data):
    space = make_space(num_positions, names)
    terms = space_terms(space)
    costs = data.draw(st.lists(st.floats(0.1, 5.0), min_size=len(terms), max_size=len(terms)))
    chains = fitting_chains(space, 16, random.Random(seed))
    measured = counts_matrix(chains, terms, "mean") @ np.array([0.3, *costs])
    found = fit_coefficients(chains, measured, terms, "mean")
    assert found.intercept_ms == pytest.approx(0.3, rel=1e-6)
    assert list(found.costs_ms.values()) == pytest.approx(costs, rel=1e-6)


@given(
    names=names_of_a_space,
    num_positions=st.integers(2, 8),
    seed=st.integers(0, 9),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_operators_of_one_token_have_costs_of_their_own(names, num_positions, seed, data):
    space = make_space(num_positions, names, "cls")
    terms = space_terms(space)
    assert len(terms) == 2 * len(space_operators(space))
    costs = data.draw(st.lists(st.floats(0.1, 5.0), min_size=len(terms), max_size=len(terms)))
    true = Coefficients(0.3, {term.name: cost for term, cost in zip(terms, costs, strict=True)})
    chains = fitting_chains(space, 16, random.Random(seed))
    found = fit_coefficients(chains, [true.predict_ms(chain, "cls") for chain in chains], terms, "cls")
    # One token's operators and the intercept may go together in every chain: their sum is what is told.
    asked = heldout_chains(space, 8, random.Random(seed), known=())
    predicted = [found.predict_ms(chain, "cls") for chain in asked]
    assert predicted == pytest.approx([true.predict_ms(chain, "cls") for chain in asked], rel=1e-5)


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_no_cost_is_negative_however_noisy_the_clock(seed):
    space = make_space()
    chains = fitting_chains(space, 16, random.Random(seed))
    measured = np.random.default_rng(seed).uniform(0.1, 10, len(chains))
    found = fit_coefficients(chains, measured, space_terms(space), "mean")
    assert min(found.intercept_ms, *found.costs_ms.values()) >= 0


@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_costs_that_grow_with_size_are_found_again_and_noise_never_orders_them(names, seed, data):
    space = make_space(4, names)
    terms = space_terms(space)
    increase = data.draw(st.lists(st.floats(0.1, 1.0), min_size=len(terms), max_size=len(terms)))
    costs = [sum(increase[j] for j, other in enumerate(terms) if one.includes(other)) for one in terms]
    chains = fitting_chains(space, 16, random.Random(seed))
    measured = counts_matrix(chains, terms, "mean") @ np.array([0.3, *costs])
    found = fit_coefficients(chains, measured, terms, "mean", monotonic=True)
    assert list(found.costs_ms.values()) == pytest.approx(costs, rel=1e-6)
    noisy = measured * np.random.default_rng(seed).uniform(0.2, 5, len(chains))
    found = fit_coefficients(chains, noisy, terms, "mean", monotonic=True)
    for one in terms:
        for other in terms:
            if one.includes(other):
                assert found.costs_ms[other.name] <= found.costs_ms[one.name]


@given(
    names=names_of_a_space.filter(lambda names: names != ["identity"]),
    num_positions=st.integers(2, 12),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_a_noisy_clock_gives_predictions_hardly_noisier_than_itself(names, num_positions, seed):
    space, generator = make_space(num_positions, names), np.random.default_rng(seed)
    terms = space_terms(space)
    chains = fitting_chains(space, 24, random.Random(seed))
    heldout = heldout_chains(space, 24, random.Random(seed), known=())
    costs = np.array([0.5, *generator.uniform(0.3, 1.5, len(terms))])
    exact = counts_matrix(chains, terms, "mean") @ costs
    noisy = exact * (1 + 0.01 * generator.standard_normal(len(chains)))
    found = fit_coefficients(chains, noisy, terms, "mean")
    predicted = [found.predict_ms(chain, "mean") for chain in heldout]
    mape_percent, _ = prediction_error(predicted, (counts_matrix(heldout, terms, "mean") @ costs).tolist())
    assert mape_percent is not None
    assert mape_percent < 1.5
