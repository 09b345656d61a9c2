"""Laws of the search: what comes back fits, nothing is scored twice, one seed gives one front, a killed
search resumes into the same result."""

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
    check_feasible,
    one_by_one,
    pareto_front,
    remembered,
    sampler_within,
    search,
)
from bertcompress.search.pareto import dominates
from bertcompress.space import Child, Dimensions, SearchSpace, canonical, child_name

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
        return Cost.of(num_parameters=space.architecture(child).num_parameters, latency_ms=latency_ms)

    return cost_of


def toy_score(child: Child) -> float:
    """Better with every convolution, a little worse with size; the same for all placements of a network."""
    operators = canonical(child)
    return sum(operator.size for operator in operators) / 100 - sum(o.kind == "conv" for o in operators)


@st.composite
def spaces(draw, most_positions=4):
    names = draw(st.lists(st.sampled_from(OPERATOR_NAMES), min_size=1, max_size=5, unique=True))
    return make_space(draw(st.integers(1, most_positions)), names)


@st.composite
def spaces_with_budgets(draw, most_positions=4):
    """A space and budgets that one of its children, drawn too, just meets."""
    space = draw(spaces(most_positions))
    cost = make_cost_of(space)(space.sample(random.Random(draw(st.integers(0, 99)))))
    limits = []
    for value in cost.values:
        limits.append(draw(st.sampled_from([None, value, (value, None), (0.8 * value, 1.2 * value)])))
    num_parameters, latency_ms = limits
    return space, Budgets.of(num_parameters=num_parameters, latency_ms=latency_ms)


def run_search(space, budgets, name, *, score=toy_score, num_evaluations=30, seed=0, path=None, **options):
    cost_of, score_many = make_cost_of(space), one_by_one(score)
    fitting = check_feasible(space, cost_of, budgets, random.Random(seed))
    sample = sampler_within(space, lambda child: budgets.fits(cost_of(child)), fitting)
    return search(
        space,
        SEARCHERS[name](space, sample, cost_of, budgets, 6),
        score_many=score_many if path is None else remembered(score_many, path),
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
@given(case=spaces_with_budgets(most_positions=2))
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
    space = make_space(4, OPERATOR_NAMES)
    budgets = Budgets.of(latency_ms=6.0)
    assert run_search(space, budgets, name, seed=3) == run_search(space, budgets, name, seed=3)
    assert run_search(space, budgets, name, seed=3) != run_search(space, budgets, name, seed=4)


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@pytest.mark.parametrize("killed_after", [0, 1, 7, 29])
def test_killed_and_resumed_equals_never_killed(tmp_path, name, killed_after):
    space, budgets = make_space(4, OPERATOR_NAMES), Budgets.of(latency_ms=6.0)
    never_killed = run_search(space, budgets, name)
    calls = 0

    def dying_score(child: Child) -> float:
        nonlocal calls
        if calls == killed_after:
            raise KeyboardInterrupt
        calls += 1
        return toy_score(child)

    path = tmp_path / "search.json"
    with pytest.raises(KeyboardInterrupt):
        run_search(space, budgets, name, score=dying_score, path=path)
    calls_after = []

    def counted_score(child: Child) -> float:
        calls_after.append(child)
        return toy_score(child)

    resumed = run_search(space, budgets, name, score=counted_score, path=path)
    assert resumed == never_killed
    assert len(calls_after) == 30 - killed_after


def test_a_state_that_is_no_state_is_refused(tmp_path):
    path = tmp_path / "search.json"
    path.write_text('["something else"]')
    with pytest.raises(RunFolderError, match="not a search state"):
        run_search(make_space(2, ["conv3", "identity"]), Budgets(), "random", path=path)


def test_a_search_whose_proposals_never_fit_says_so():
    space = make_space(8, OPERATOR_NAMES)
    with pytest.raises(BudgetError, match="no proposed child fits"):
        search(
            space,
            SEARCHERS["evolution"](space, space.sample, make_cost_of(space), Budgets(), 6),
            score_many=one_by_one(toy_score),
            cost_of=make_cost_of(space),
            budgets=Budgets.of(num_parameters=1),
            num_evaluations=5,
            rng=random.Random(0),
        )


def test_evolution_without_a_fitting_sampler_finds_its_way_into_the_budget():
    space = make_space(8, OPERATOR_NAMES)
    cost_of, budgets = make_cost_of(space), Budgets.of(latency_ms=2.0)
    result = search(
        space,
        SEARCHERS["evolution"](space, space.sample, cost_of, budgets, 12),
        score_many=one_by_one(toy_score),
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
        for name in ("evolution", "random")
    }
    assert best["evolution"] < best["random"]


def test_seeds_come_first_and_every_evaluation_is_scored_once():
    space = make_space(4, OPERATOR_NAMES)
    seed_child = space.largest()
    scored = []

    def noted(child: Child) -> float:
        scored.append(child)
        return toy_score(child)

    result = run_search(space, Budgets(), "random", score=noted, seeds=[seed_child])
    assert result.evaluations[0].placed == scored[0] == seed_child
    assert sorted(scored) == sorted(evaluation.placed for evaluation in result.evaluations)
    assert result.evaluations[0].name == child_name(canonical(seed_child))


def test_a_score_that_is_no_number_never_wins():
    space = make_space(2, ["conv3", "ffn16"])
    result = run_search(
        space, Budgets(), "random", score=lambda child: float("nan") if child[0].kind == "conv" else 1.0
    )
    assert result.best.child[0].kind == "ffn"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_the_front_is_what_none_dominates(points):
    front = pareto_front(points, lambda point: point)
    assert set(front) == {p for p in points if not any(dominates(q, p) for q in points)}
    assert len(front) == len(set(front))
