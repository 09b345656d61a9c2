"""Laws of the search: what comes back fits, nothing is scored twice, one seed gives one front, a killed
search resumes into the same result, and an impossible budget is proven so before any score is asked for."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.errors import BudgetError, RunFolderError
from bertcompress.search import (
    SEARCHERS,
    Budgets,
    Cost,
    cheapest_children,
    check_feasible,
    pareto_front,
    sampler_within,
    search,
)
from bertcompress.search.pareto import dominates
from bertcompress.space import Child, Dimensions, SearchSpace, canonical

OPERATOR_NAMES = ["mha1", "mha2", "ffn16", "ffn48", "conv3", "conv7", "identity"]
LATENCY_MS = {
    "mha1": 2.0,
    "mha2": 2.5,
    "ffn16": 0.5,
    "ffn48": 1.5,
    "conv3": 0.25,
    "conv7": 0.375,
    "identity": 0.0,
}


def make_space(num_positions: int, names: list[str]) -> SearchSpace:
    dimensions = Dimensions(
        vocab_size=11, hidden_size=16, embedding_size=16, head_size=8, num_labels=2, pooling="cls"
    )
    return SearchSpace.uniform(dimensions, num_positions, names)


def make_cost_of(space: SearchSpace):
    def cost_of(child: Child) -> Cost:
        latency_ms = 1.0 + sum(LATENCY_MS[operator.name] for operator in child)
        return Cost(space.architecture(child).num_parameters, latency_ms)

    return cost_of


def toy_score(child: Child) -> float:
    """Better with every convolution, a little worse with size; the same for all placements of a network."""
    operators = canonical(child)
    return sum(operator.size for operator in operators) / 100 - sum(o.kind == "conv" for o in operators)


@st.composite
def spaces(draw):
    names = draw(st.lists(st.sampled_from(OPERATOR_NAMES), min_size=1, max_size=5, unique=True))
    return make_space(draw(st.integers(1, 4)), names)


@st.composite
def spaces_with_budgets(draw):
    """A space and budgets that one of its children, drawn too, just meets."""
    space = draw(spaces())
    cost = make_cost_of(space)(space.sample(random.Random(draw(st.integers(0, 99)))))
    num_parameters = draw(st.sampled_from([None, cost.num_parameters]))
    latency_ms = draw(st.sampled_from([None, cost.latency_ms]))
    return space, Budgets(num_parameters, latency_ms)


def run_search(space, budgets, name, *, score=toy_score, num_evaluations=30, seed=0, **options):
    cost_of = make_cost_of(space)
    fitting = check_feasible(space, cost_of, budgets, random.Random(seed))
    sample = sampler_within(space, lambda child: budgets.fits(cost_of(child)), fitting)
    return search(
        space,
        SEARCHERS[name](space, sample, 6),
        score=score,
        cost_of=cost_of,
        budgets=budgets,
        num_evaluations=num_evaluations,
        rng=random.Random(seed),
        **options,
    )


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@given(case=spaces_with_budgets(), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_everything_returned_fits_and_nothing_is_scored_twice(name, case, seed):
    space, budgets = case
    scored: list[Child] = []

    def score(child: Child) -> float:
        scored.append(canonical(child))
        return toy_score(child)

    result = run_search(space, budgets, name, score=score, seed=seed)
    assert len(scored) == len(set(scored)) == len(result.evaluations)
    for evaluation in result.evaluations:
        assert space.contains(evaluation.placed)
        assert canonical(evaluation.placed) == evaluation.child
        assert budgets.fits(evaluation.cost)
    assert result.best.score == min(evaluation.score for evaluation in result.evaluations)
    assert set(result.front) <= set(result.evaluations)


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@given(case=spaces_with_budgets())
@settings(max_examples=15, deadline=None)
def test_a_small_space_is_searched_to_its_end(name, case):
    space, budgets = case
    cost_of = make_cost_of(space)
    fitting = {canonical(c) for c in itertools.product(*space.choices) if budgets.fits(cost_of(c))}
    result = run_search(space, budgets, name, num_evaluations=len(fitting) + 1)
    assert {evaluation.child for evaluation in result.evaluations} == fitting
    assert result.stopped_because == "every child that fits was scored"


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_same_seed_same_result(name):
    space = make_space(5, OPERATOR_NAMES)
    budgets = Budgets(latency_ms=6.0)
    assert run_search(space, budgets, name, seed=3) == run_search(space, budgets, name, seed=3)
    assert run_search(space, budgets, name, seed=3) != run_search(space, budgets, name, seed=4)


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@pytest.mark.parametrize("killed_after", [0, 1, 7, 29])
def test_killed_and_resumed_equals_never_killed(tmp_path, name, killed_after):
    space, budgets = make_space(5, OPERATOR_NAMES), Budgets(latency_ms=6.0)
    never_killed = run_search(space, budgets, name)
    calls = 0

    def dying_score(child: Child) -> float:
        nonlocal calls
        if calls == killed_after:
            raise KeyboardInterrupt
        calls += 1
        return toy_score(child)

    state_path = tmp_path / "search.json"
    with pytest.raises(KeyboardInterrupt):
        run_search(space, budgets, name, score=dying_score, state_path=state_path)
    calls_after = []

    def counted_score(child: Child) -> float:
        calls_after.append(child)
        return toy_score(child)

    resumed = run_search(space, budgets, name, score=counted_score, state_path=state_path)
    assert resumed == never_killed
    assert len(calls_after) == 30 - killed_after


def test_a_state_that_is_no_state_is_refused(tmp_path):
    path = tmp_path / "search.json"
    path.write_text('["something else"]')
    with pytest.raises(RunFolderError, match="not a search state"):
        run_search(make_space(2, ["conv3", "identity"]), Budgets(), "random", state_path=path)


@given(case=spaces_with_budgets())
@settings(max_examples=40, deadline=None)
def test_feasibility_finds_a_child_that_fits(case):
    space, budgets = case
    cost_of = make_cost_of(space)
    child = check_feasible(space, cost_of, budgets, random.Random(0))
    assert space.contains(child)
    assert budgets.fits(cost_of(child))


@given(space=spaces())
@settings(max_examples=40, deadline=None)
def test_cheapest_children_are_the_front_of_the_whole_space(space):
    cost_of = make_cost_of(space)
    everything = [cost_of(child).values for child in itertools.product(*space.choices)]
    expected = pareto_front(everything, lambda values: values)
    assert [priced.cost.values for priced in cheapest_children(space, cost_of, random.Random(0))] == expected


def test_impossible_budgets_are_named_with_the_smallest_reachable():
    space = make_space(3, ["mha1", "ffn48"])
    smallest = make_cost_of(space)(space.smallest())
    budgets = Budgets(num_parameters=smallest.num_parameters - 1, latency_ms=0.5)
    with pytest.raises(BudgetError) as caught:
        check_feasible(space, make_cost_of(space), budgets, random.Random(0))
    assert f"{smallest.num_parameters:,} by mha1-mha1-mha1" in str(caught.value)
    assert "latency_ms: 0.5 is below the smallest reachable, 5.5 by ffn48-ffn48-ffn48" in str(caught.value)


def test_budgets_that_exclude_each_other_are_named_together():
    space = make_space(3, ["mha1", "ffn48"])  # attention is the smaller of the two here, and the slower
    small, fast = space.smallest(), space.largest()
    budgets = Budgets(make_cost_of(space)(small).num_parameters, make_cost_of(space)(fast).latency_ms)
    with pytest.raises(BudgetError, match="cannot be met together") as caught:
        check_feasible(space, make_cost_of(space), budgets, random.Random(0))
    assert "by ffn48-ffn48-ffn48" in str(caught.value)
    assert "by mha1-mha1-mha1" in str(caught.value)


def test_costs_that_are_no_sums_are_caught():
    space = make_space(4, ["mha1", "conv3", "identity"])

    def interacting(child: Child) -> Cost:
        return Cost(100 + len({operator.name for operator in child}) ** 2)

    with pytest.raises(ValueError, match="not sums"):
        check_feasible(space, interacting, Budgets(num_parameters=10), random.Random(0))


@given(case=spaces_with_budgets(), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_sampler_keeps_within_the_budgets(case, seed):
    space, budgets = case
    cost_of = make_cost_of(space)
    fitting = check_feasible(space, cost_of, budgets, random.Random(0))
    child = sampler_within(space, lambda c: budgets.fits(cost_of(c)), fitting)(random.Random(seed))
    assert space.contains(child)
    assert budgets.fits(cost_of(child))


def test_a_search_whose_proposals_never_fit_says_so():
    space = make_space(8, OPERATOR_NAMES)
    with pytest.raises(BudgetError, match="no proposed child fits"):
        search(
            space,
            SEARCHERS["evolution"](space, space.sample, 6),
            score=toy_score,
            cost_of=make_cost_of(space),
            budgets=Budgets(num_parameters=1),
            num_evaluations=5,
            rng=random.Random(0),
        )


def test_evolution_without_a_fitting_sampler_finds_its_way_into_the_budget():
    space = make_space(8, OPERATOR_NAMES)
    cost_of, budgets = make_cost_of(space), Budgets(latency_ms=2.0)
    result = search(
        space,
        SEARCHERS["evolution"](space, space.sample, 12),
        score=toy_score,
        cost_of=cost_of,
        budgets=budgets,
        num_evaluations=10,
        rng=random.Random(0),
    )
    assert len(result.evaluations) == 10


def test_evolution_finds_a_better_child_than_chance_alone():
    space = make_space(8, OPERATOR_NAMES)
    best = {
        name: sum(run_search(space, Budgets(), name, num_evaluations=80, seed=s).best.score for s in range(3))
        for name in SEARCHERS
    }
    assert best["evolution"] < best["random"]


def test_seeds_come_first_and_every_evaluation_is_announced():
    space = make_space(4, OPERATOR_NAMES)
    seed_child = space.largest()
    announced = []
    result = run_search(space, Budgets(), "random", seeds=[seed_child], on_evaluation=announced.append)
    assert result.evaluations[0].placed == seed_child
    assert tuple(announced) == result.evaluations
    assert announced[0].name == "-".join(operator.name for operator in canonical(seed_child))


def test_a_score_that_is_no_number_never_wins():
    space = make_space(2, ["conv3", "ffn16"])
    result = run_search(
        space, Budgets(), "random", score=lambda child: float("nan") if child[0].kind == "conv" else 1.0
    )
    assert result.best.child[0].kind == "ffn"


def test_a_latency_budget_needs_latencies():
    with pytest.raises(ValueError, match="latency_ms"):
        Budgets(latency_ms=1.0).fits(Cost(10))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_the_front_is_what_none_dominates(points):
    front = pareto_front(points, lambda point: point)
    assert set(front) == {p for p in points if not any(dominates(q, p) for q in points)}
    assert len(front) == len(set(front))
