"""Laws of single searchers, and of the draws that some of them learn from."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landscapes import NAMES, landscape, price, price_by_cache, price_by_token, uneven, uniform

from bertcompress.search import (
    SEARCHERS,
    Budgets,
    Evaluation,
    Evolution,
    Exact,
    Parsec,
    Progressive,
    Reinforce,
    check_feasible,
    one_by_one,
    pareto_front,
    sampler_within,
    search,
)
from bertcompress.search.distribution import OperatorDistribution
from bertcompress.search.draws import Draws
from bertcompress.search.pareto import crowding_distances
from bertcompress.space import Child, Operator, SearchSpace, canonical


def make(name: str, space: SearchSpace, budgets: Budgets, size: int = 12, prices=price):
    cost_of = prices(space)
    fitting = check_feasible(space, cost_of, budgets, random.Random(0))
    sample = sampler_within(space, lambda child: budgets.fits(cost_of(child)), fitting)
    return SEARCHERS[name](space, sample, cost_of, budgets, size)


def run(name: str, space: SearchSpace, budgets: Budgets, score, *, num_evaluations: int, seed: int):
    return search(
        space,
        make(name, space, budgets),
        score_many=one_by_one(score),
        cost_of=price(space),
        budgets=budgets,
        num_evaluations=num_evaluations,
        rng=random.Random(seed),
    )


def evaluated(space: SearchSpace, children, score) -> list[Evaluation]:
    first = {canonical(child): child for child in reversed(list(children))}
    return [Evaluation(c, placed, score(placed), price(space)(placed)) for c, placed in first.items()]


TIGHT = Budgets.of(latency_ms=6.0)


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@pytest.mark.parametrize(
    "space", [uniform(3), uneven("mha1 identity", "conv3 ffn48 identity", "mha2 identity", "conv3 mha1")]
)
def test_left_alone_a_searcher_proposes_everything_that_fits(name, space):
    """Without the driver's help at the end of a space, so the optimum is found in the end."""
    cost_of, score = price(space), landscape(space, 0)
    fitting = {canonical(c) for c in itertools.product(*space.choices) if TIGHT.fits(cost_of(c))}
    searcher, rng, seen = make(name, space, TIGHT), random.Random(0), set()
    for _ in range(400):
        new = {}
        for child in searcher.ask(8, rng):
            assert space.contains(child)
            if canonical(child) not in seen:
                new.setdefault(canonical(child), child)
        seen |= set(new)
        searcher.tell(
            [
                Evaluation(child, placed, score(placed), cost_of(placed))
                if TIGHT.fits(cost_of(placed))
                else Evaluation(child, placed, math.inf, cost_of(placed), TIGHT.overshoot(cost_of(placed)))
                for child, placed in new.items()
            ]
        )
        if fitting <= seen:
            break
    assert fitting <= seen


@pytest.mark.parametrize("name", sorted(set(SEARCHERS) - {"random"}))
def test_every_searcher_beats_chance_on_average(name):
    space, budgets = uniform(5), Budgets.of(latency_ms=7.0)
    seeds = range(4 if name == "exact" else 12)  # exact is slow, and far ahead

    def mean_best(who: str) -> float:
        scores = [
            run(who, space, budgets, landscape(space, seed), num_evaluations=48, seed=seed).best.score
            for seed in seeds
        ]
        return sum(scores) / len(scores)

    assert mean_best(name) < mean_best("random")


def test_evolution_finds_more_of_the_front_than_chance():
    space = uniform(4)
    cost_of, score = price(space), landscape(space, 1)
    everything = [(score(c), *cost_of(c).values) for c in itertools.product(*space.choices)]
    true_front = set(pareto_front(everything, lambda values: values))
    found = {}
    for name in ("evolution", "random"):
        results = [run(name, space, Budgets(), score, num_evaluations=150, seed=s) for s in range(4)]
        fronts = [{(e.score, *e.cost.values) for e in result.front} for result in results]
        found[name] = sum(len(front & true_front) for front in fronts)
    assert found["evolution"] > found["random"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_the_ends_of_a_front_are_the_least_crowded(points):
    distances = crowding_distances(points)
    assert len(distances) == len(points)
    assert all(distance >= 0 for distance in distances)
    for value in range(2 if points else 0):
        ordered = sorted(point[value] for point in points)
        if ordered[0] < ordered[-1]:
            ends = {ordered[0], ordered[-1]}
            assert {p[value] for p, d in zip(points, distances, strict=True) if d == math.inf} >= ends


def learned(searcher) -> OperatorDistribution:
    return searcher.policy if isinstance(searcher, Reinforce) else searcher.distribution


@pytest.mark.parametrize("name", ["reinforce", "parsec"])
def test_what_scores_well_becomes_more_likely(name):
    space = uniform(4)
    searcher, rng = make(name, space, Budgets()), random.Random(0)
    for _ in range(12):
        children = searcher.ask(8, rng)
        searcher.tell(evaluated(space, children, lambda child: -sum(o.kind == "conv" for o in child)))
    conv3 = NAMES.index("conv3")
    rows = learned(searcher).probabilities
    assert all(row[conv3] > 1 / len(NAMES) for row in rows)
    assert sum(row.argmax() == conv3 for row in rows) >= 3


def test_parsec_starts_from_what_it_learned_on_a_shorter_chain():
    def score(child: Child) -> float:
        return -sum(operator.kind == "conv" for operator in child)

    short, long = uniform(3), uniform(9)
    teacher, rng = make("parsec", short, Budgets()), random.Random(0)
    for _ in range(12):
        teacher.tell(evaluated(short, teacher.ask(8, rng), score))
    start = OperatorDistribution.from_dict(teacher.distribution.to_dict(), long)
    first = {}
    for name, begins in (("transferred", start), ("from scratch", None)):
        searcher = Parsec(long, long.sample, price(long), Budgets(), start=begins)
        first[name] = np.mean([score(child) for child in searcher.ask(8, random.Random(1))])
    assert first["transferred"] < first["from scratch"]
    with pytest.raises(ValueError, match="another space"):
        Parsec(long, long.sample, price(long), Budgets(), start=teacher.distribution)


def test_the_floor_keeps_every_operator_alive():
    space = uniform(2)
    searcher, rng = (
        Parsec(space, space.sample, price(space), Budgets(), step=1.0, floor=0.1),
        random.Random(0),
    )
    searcher.tell(evaluated(space, searcher.ask(8, rng), landscape(space, 0)))
    assert all(row.min() > 0.1 / len(row) / 2 for row in searcher.distribution.probabilities)


def test_repeated_draws_count_with_their_remembered_score():
    space = uniform(2, ["conv3", "ffn48"])
    draws, rng = Draws(space.sample, price(space), Budgets()), random.Random(0)
    always = space.largest()
    assert draws.ask(1, lambda rng: always, rng) == [always]
    assert draws.tell(evaluated(space, [always], lambda child: 0.25))[1].tolist() == [0.25]
    others = draws.ask(2, lambda rng: always, rng)
    assert len(others) == 2
    assert always not in others
    children, scores = draws.tell(evaluated(space, others, lambda child: 0.75))
    assert set(children) == {always}
    assert set(scores) == {0.25}


def test_draws_over_budget_are_worse_than_all_that_fit_and_are_not_proposed():
    space = uniform(2, ["conv3", "mha1"])
    cost_of, budgets = price(space), Budgets.of(latency_ms=1.5)
    fitting = (Operator("conv", 3),) * 2
    draws, rng = Draws(lambda rng: fitting, cost_of, budgets), random.Random(0)
    asked = draws.ask(4, space.sample, rng)
    assert asked == [fitting]
    children, scores = draws.tell(evaluated(space, asked, lambda child: 0.5))
    assert set(scores[[child == fitting for child in children]]) == {0.5}
    overshoots = [budgets.overshoot(cost_of(child)) for child in children]
    assert (scores[np.array(overshoots) > 0] > 0.5).all()
    assert [s for _, s in sorted(zip(overshoots, scores, strict=True))] == sorted(scores)


def test_progressive_grows_its_chains():
    space = uniform(4)
    searcher, rng, lengths = make("progressive", space, Budgets(), size=8), random.Random(0), []
    for _ in range(5):
        children = searcher.ask(8, rng)
        lengths.append({len(canonical(child)) for child in children})
        searcher.tell(evaluated(space, children, landscape(space, 0)))
    assert lengths[0] <= {0, 1}
    assert lengths[1] == {2}
    assert lengths[2] == {3}
    assert lengths[3] == {4}


def test_progressive_without_identities_ends_chains_with_the_smallest_operators():
    space = uniform(3, ["mha1", "ffn48", "conv3"])
    searcher = make("progressive", space, Budgets(), size=8)
    smallest = space.smallest()
    for child in searcher.ask(8, random.Random(0)):
        assert child[1:] == smallest[1:]


def test_progressive_meets_a_budget_from_below():
    space = uniform(3)
    most = price(space)(space.largest())["num_parameters"]
    budgets = Budgets.of(num_parameters=(0.8 * most, None))
    result = run("progressive", space, budgets, landscape(space, 0), num_evaluations=10, seed=0)
    assert all(evaluation.cost["num_parameters"] >= 0.8 * most for evaluation in result.evaluations)


@given(
    seed=st.integers(0, 99),
    case=st.sampled_from(
        [
            *itertools.product([price, price_by_token], [TIGHT, Budgets.of(latency_ms=(4.5, 6.0))]),
            *itertools.product([price_by_cache], [TIGHT, Budgets.of(latency_ms=6.0)]),
        ]
    ),
)
@settings(max_examples=24, deadline=None)
def test_exact_finds_the_optimum_of_additive_scores_once_its_design_is_scored(seed, case):
    prices, budgets = case
    space = uniform(3)
    cost_of, score = prices(space), landscape(space, seed, interaction=0.0)
    searcher, rng = make("exact", space, budgets, size=100, prices=prices), random.Random(seed)
    best = min(score(c) for c in itertools.product(*space.choices) if budgets.fits(cost_of(c)))
    result = search(
        space,
        searcher,
        score_many=one_by_one(score),
        cost_of=cost_of,
        budgets=budgets,
        num_evaluations=1 + 3 * (len(NAMES) - 1) + 16,
        rng=rng,
    )
    assert result.best.score == pytest.approx(best)


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_scores_that_are_no_numbers_stop_no_searcher(name):
    space = uniform(3)

    def score(child: Child) -> float:
        return math.nan if child[0].kind == "mha" else landscape(space, 0)(child)

    result = run(name, space, TIGHT, score, num_evaluations=40, seed=0)
    assert len(result.evaluations) == 40
    assert math.isfinite(result.best.score)


def test_settings_without_sense_are_refused():
    space = uniform(2)
    arguments = space, space.sample, price(space), Budgets()
    with pytest.raises(ValueError, match="temperature"):
        Parsec(*arguments, temperature=0.0)
    with pytest.raises(ValueError, match="learning rate"):
        Reinforce(*arguments, learning_rate=0.0)
    with pytest.raises(ValueError, match="beam"):
        Progressive(space, space.sample, lambda child: True, 0)
    with pytest.raises(ValueError, match="design"):
        Exact(*arguments, design_size=1)
    with pytest.raises(ValueError, match="population"):
        Evolution(space, space.sample, 1)
