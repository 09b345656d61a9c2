"""Laws of the integer program: it agrees with brute force on the optimum and on whether there is any."""

from __future__ import annotations

import itertools
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.search import integer_program
from bertcompress.search.integer_program import AdditiveCosts, Choice, Interval, solve

# Parameters and milliseconds: numbers of very different size, ties among them.
MAGNITUDES = (1_000_000, 0.25, 7)


@st.composite
def programs(draw):
    """Scores, costs and intervals of up to 4 positions, whose bounds some choice often just meets."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    num_costs = draw(st.integers(1, 3))
    small = st.integers(-5, 9)
    scores = [np.array(draw(st.lists(small, min_size=n, max_size=n)), dtype=float) / 7 for n in sizes]
    magnitudes = np.array(MAGNITUDES[:num_costs])
    row = st.lists(st.integers(0, 6), min_size=num_costs, max_size=num_costs)
    operators = tuple(np.array(draw(st.lists(row, min_size=n, max_size=n))) * magnitudes for n in sizes)
    costs = AdditiveCosts(np.array(draw(row)) * magnitudes, operators)
    bound = st.integers(-1, 20)
    intervals = []
    for magnitude in magnitudes:
        ends = sorted((draw(bound) * magnitude, draw(bound) * magnitude))
        lower = draw(st.sampled_from([-math.inf, float(ends[0])]))
        upper = draw(st.sampled_from([math.inf, float(ends[1])]))
        intervals.append(Interval(lower, upper))
    return scores, costs, intervals


def every_choice(costs: AdditiveCosts) -> list[Choice]:
    return list(itertools.product(*(range(len(rows)) for rows in costs.operators)))


def total(scores, choice: Choice) -> float:
    return sum(row[index] for row, index in zip(scores, choice, strict=True))


def fits(costs: AdditiveCosts, intervals, choice: Choice) -> bool:
    values = costs.of(choice)
    return all(wanted.contains(value) for wanted, value in zip(intervals, values, strict=True))


@given(program=programs(), core_width=st.sampled_from([0.0, 1.0, integer_program.CORE_WIDTH]))
@settings(max_examples=200, deadline=None)
def test_the_optimum_is_that_of_brute_force(program, core_width):
    """However narrow the core is that the search begins with."""
    scores, costs, intervals = program
    fitting = [choice for choice in every_choice(costs) if fits(costs, intervals, choice)]
    with patch.object(integer_program, "CORE_WIDTH", core_width):
        found = solve(scores, costs, intervals)
    if not fitting:
        assert found is None
        return
    assert found in fitting
    assert total(scores, found) == pytest.approx(min(total(scores, c) for c in fitting), abs=1e-6)


@given(program=programs())
@settings(max_examples=60, deadline=None)
def test_excluding_each_answer_lists_what_fits_from_the_best_to_the_worst(program):
    scores, costs, intervals = program
    fitting = sorted(total(scores, c) for c in every_choice(costs) if fits(costs, intervals, c))[:6]
    found: list[Choice] = []
    for _ in fitting:
        choice = solve(scores, costs, intervals, excluded=found)
        assert choice is not None
        assert choice not in found
        found.append(choice)
    assert [total(scores, choice) for choice in found] == pytest.approx(fitting, abs=1e-6)


@given(program=programs())
@settings(max_examples=60, deadline=None)
def test_identities_stand_only_at_the_end(program):
    scores, costs, intervals = program
    identities = [len(row) - 1 for row in scores]
    packed = [
        choice
        for choice in every_choice(costs)
        if fits(costs, intervals, choice)
        and not any(
            choice[p] == identities[p] and choice[p + 1] != identities[p + 1] for p in range(len(choice) - 1)
        )
    ]
    found = solve(scores, costs, intervals, identities=identities)
    if not packed:
        assert found is None
        return
    assert found in packed
    assert total(scores, found) == pytest.approx(min(total(scores, c) for c in packed), abs=1e-6)


def test_one_parameter_above_the_budget_is_above_it():
    costs = AdditiveCosts(np.zeros(1), (np.array([[5_000_001.0], [5_000_000.0], [4_999_999.0]]),))
    scores = [np.array([0.0, 1.0, 2.0])]
    assert solve(scores, costs, [Interval(upper=5_000_000)]) == (1,)
    assert solve(scores, costs, [Interval(upper=4_999_999)]) == (2,)
    assert solve(scores, costs, [Interval(lower=5_000_001)]) == (0,)


def test_an_operator_of_huge_cost_hides_no_small_ones():
    costs = AdditiveCosts(np.zeros(1), (np.array([[1e15], [3.0], [1.0]]),) * 3)
    scores = [np.array([0.0, 1.0, 2.0])] * 3
    assert costs.of(solve(scores, costs, [Interval(upper=8)])) == [7.0]
    assert costs.of(solve([-row for row in scores], costs, [Interval(8, 1e12)])) == [9.0]


def test_a_space_far_beyond_brute_force_is_solved_under_three_budgets():
    """Its optimum is known because every position makes its own best choice without breaking a budget."""
    generator = np.random.default_rng(0)
    costs = AdditiveCosts(np.zeros(3), tuple(generator.uniform(1, 2, size=(12, 3)) for _ in range(24)))
    scores = [generator.normal(size=12) for _ in range(24)]
    best = tuple(int(row.argmin()) for row in scores)
    intervals = [Interval(upper=float(value)) for value in costs.of(best)]
    assert solve(scores, costs, intervals) == best
    assert solve(scores, costs, [Interval(upper=23.9), *intervals[1:]]) is None
