"""Laws of single searchers, and of what they are made of: distributions over operators, draws, surrogates."""

from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.errors import RunFolderError, SpaceError
from bertcompress.search import (
    SEARCHERS,
    Budgets,
    Cost,
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
from bertcompress.search.parsec import importance_weights
from bertcompress.search.placement import can_pack, packed
from bertcompress.search.surrogates import AdditiveScores, Ensemble, finite_scores
from bertcompress.space import IDENTITY, Child, Dimensions, Operator, SearchSpace, canonical

DIMENSIONS = Dimensions(
    vocab_size=11, hidden_size=16, embedding_size=16, head_size=8, num_labels=2, pooling="cls"
)
NAMES = ["mha1", "mha2", "ffn48", "conv3", "identity"]
LATENCY_MS = {"mha": 2.0, "ffn": 1.5, "conv": 0.25, "identity": 0.0}


def uniform(num_positions: int, names: list[str] = NAMES) -> SearchSpace:
    return SearchSpace.uniform(DIMENSIONS, num_positions, names)


def uneven(*positions: str) -> SearchSpace:
    """A space with its own choice at each position, in words: "mha1 conv3"."""
    return SearchSpace(
        DIMENSIONS, tuple(tuple(Operator.parse(word) for word in position.split()) for position in positions)
    )


def price(space: SearchSpace):
    def cost_of(child: Child) -> Cost:
        latency_ms = 1.0 + sum(LATENCY_MS[operator.kind] for operator in child)
        return Cost.of(num_parameters=space.architecture(child).num_parameters, latency_ms=latency_ms)

    return cost_of


def landscape(space: SearchSpace, seed: int, interaction: float = 0.2):
    """Additive in who stands where, with an interaction of neighbours, the same for all placements."""
    generator = np.random.default_rng(seed)
    operators = sorted({operator for choice in space.choices for operator in choice})
    additive = {
        (position, operator): generator.uniform(0, 1) * (operator.kind != "identity")
        for position in range(space.num_positions)
        for operator in operators
    }
    pairs = {pair: generator.normal(0, interaction) for pair in itertools.product(operators, operators)}

    def score(child: Child) -> float:
        network = canonical(child)
        alone = sum(additive[place] for place in enumerate(network))
        return 1 - (alone + sum(pairs[pair] for pair in itertools.pairwise(network))) / space.num_positions

    return score


def make(name: str, space: SearchSpace, budgets: Budgets, size: int = 12):
    cost_of = price(space)
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


@given(seed=st.integers(0, 999), num_positions=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_distribution_comes_back_from_json_unchanged(seed, num_positions, tmp_path_factory):
    space = uniform(num_positions)
    generator = np.random.default_rng(seed)
    rows = tuple(generator.dirichlet(np.full(len(o), 0.3)) for o in space.choices)
    distribution = OperatorDistribution(space.choices, rows)
    path = tmp_path_factory.mktemp("distribution") / "distribution.json"
    distribution.save(path)
    loaded = OperatorDistribution.load(path, space)
    for row, loaded_row in zip(rows, loaded.probabilities, strict=True):
        np.testing.assert_array_equal(row, loaded_row)
    draws = [d.draw(random.Random(seed)) for d in (distribution, loaded)]
    assert draws[0] == draws[1]


@given(seed=st.integers(0, 99), saved=st.integers(1, 4), wanted=st.integers(1, 7), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_distribution_is_carried_over_to_other_positions_and_operators(seed, saved, wanted, data):
    names = data.draw(st.lists(st.sampled_from([*NAMES, "conv5", "ffn16"]), min_size=1, unique=True))
    generator = np.random.default_rng(seed)
    space = uniform(saved)
    rows = tuple(generator.dirichlet(np.ones(len(NAMES))) for _ in range(saved))
    values = OperatorDistribution(space.choices, rows).to_dict()
    carried = OperatorDistribution.from_dict(json.loads(json.dumps(values)), uniform(wanted, names))
    for position, row in enumerate(carried.probabilities):
        assert row.sum() == pytest.approx(1)
        at = round(position * (saved - 1) / max(1, wanted - 1))
        new = [index for index, name in enumerate(names) if name not in NAMES]
        assert row[new] == pytest.approx([1 / len(names)] * len(new))
        kept = [index for index, name in enumerate(names) if name in NAMES]
        before = np.array([rows[at][NAMES.index(names[index])] for index in kept])
        assert row[kept] * before.sum() == pytest.approx(before * row[kept].sum())  # in proportion


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "positions"),
        ('{"positions": []}', "positions"),
        ('{"positions": [{"conv3": 0.5}]}', "position 0: the probabilities add up to 0.5"),
        ('{"positions": [{"conv3": 1.0}, {"conv3": "much"}]}', "position 1"),
        ('{"positions": [{"conv3": true}]}', "position 0"),
    ],
)
def test_a_file_that_holds_no_distribution_is_refused(tmp_path, content, message):
    path = tmp_path / "distribution.json"
    path.write_text(content)
    with pytest.raises(SpaceError, match=message) as caught:
        OperatorDistribution.load(path, uniform(2))
    assert str(path) in str(caught.value)
    with pytest.raises(RunFolderError, match="missing"):
        OperatorDistribution.load(tmp_path / "none.json", uniform(2))


@given(scores=st.lists(st.integers(0, 20), min_size=1, max_size=9), scale=st.sampled_from([0.01, 1.0, 100.0]))
def test_importance_weights_are_a_distribution_that_prefers_low_scores(scores, scale):
    values = np.array(scores, dtype=float)
    weights = importance_weights(values, 0.5)
    assert weights.sum() == pytest.approx(1)
    order = np.argsort(values, kind="stable")
    assert (np.diff(weights[order]) <= 1e-12).all()
    np.testing.assert_allclose(importance_weights(values * scale, 0.5), weights)


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


@given(seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_exact_finds_the_optimum_of_additive_scores_once_its_design_is_scored(seed):
    space = uniform(3)
    cost_of, score = price(space), landscape(space, seed, interaction=0.0)
    searcher, rng = make("exact", space, TIGHT, size=100), random.Random(seed)
    best = min(score(c) for c in itertools.product(*space.choices) if TIGHT.fits(cost_of(c)))
    result = search(
        space,
        searcher,
        score_many=one_by_one(score),
        cost_of=cost_of,
        budgets=TIGHT,
        num_evaluations=1 + 3 * (len(NAMES) - 1) + 16,
        rng=rng,
    )
    assert result.best.score == pytest.approx(best)


@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_packing_keeps_the_network_and_the_space(data, seed):
    space = data.draw(
        st.sampled_from([uniform(4), uneven("mha1 conv3 identity", "conv3 identity"), uniform(2, ["conv3"])])
    )
    assert can_pack(space)
    child = space.sample(random.Random(seed))
    assert space.contains(packed(child))
    assert canonical(packed(child)) == canonical(child)
    assert packed(child) == tuple(sorted(child, key=lambda operator: operator == IDENTITY))


def test_a_space_whose_later_positions_offer_more_cannot_be_packed():
    assert not can_pack(uneven("conv3 identity", "conv3 mha1 identity"))
    assert not can_pack(uneven("conv3", "conv3 identity"))


def noisy_fit(seed: int, num_children: int) -> tuple[AdditiveScores, np.ndarray]:
    """A fit to additive scores with noise, and the true contributions against the mean of their position."""
    space, rng = uniform(3, ["mha1", "mha2", "ffn48", "conv3"]), random.Random(seed)
    truth = np.random.default_rng(seed).normal(size=(3, 4))
    children = [space.sample(rng) for _ in range(num_children)]
    scores = [
        7.0 + sum(truth[p, space.choices[p].index(o)] for p, o in enumerate(child)) + rng.gauss(0, 0.3)
        for child in children
    ]
    return AdditiveScores.fit(space, children, scores), truth - truth.mean(axis=1, keepdims=True)


def test_additive_scores_are_recovered_with_their_uncertainty():
    misses, deviations = [], {}
    for num_children in (30, 120):
        fits = [noisy_fit(seed, num_children) for seed in range(10)]
        deviations[num_children] = np.mean([model.deviations for model, _ in fits])
        misses += [(np.array(model.means) - truth) / model.deviations for model, truth in fits]
    assert deviations[120] < 0.7 * deviations[30]
    assert 0.6 < np.std(misses) < 1.5  # in deviations: neither too sure nor too unsure
    model, _ = noisy_fit(0, 30)
    generator = np.random.default_rng(0)
    draws = np.array([model.draw(generator) for _ in range(2000)])
    np.testing.assert_allclose(draws.mean(axis=0), model.means, atol=0.02)
    np.testing.assert_allclose(draws.std(axis=0), model.deviations, rtol=0.1)


def test_the_ensemble_ranks_children_it_has_not_seen():
    space, rng = uniform(4), random.Random(0)
    score = landscape(space, 0)
    children = [space.sample(rng) for _ in range(80)]
    ensemble = Ensemble(space, children[:60], [score(child) for child in children[:60]], seed=0)
    predicted = ensemble.predict(children[60:])
    assert np.corrcoef(predicted, [score(child) for child in children[60:]])[0, 1] > 0.5
    assert len(ensemble.predict([])) == 0


def test_infinite_scores_become_the_worst():
    values = finite_scores([1.0, math.inf, 3.0])
    assert values[1] > 3.0
    assert np.isfinite(values).all()
    assert finite_scores([math.inf]).tolist() == [0.0]


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
