"""Evolution of a space keeps its laws on any operators, whatever the fitness says."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bertcompress.evolve_space.autospace import (
    AVERAGE,
    FEWEST,
    LOST,
    Rules,
    evolve,
    false_savings,
    judge,
    relative_fitness,
)
from bertcompress.evolve_space.mutations import Ladder
from bertcompress.space import IDENTITY, KINDS, Dimensions, Operator

MOST = 12  # operators are whole numbers that cost themselves
WIDE = Dimensions(
    vocab_size=100, hidden_size=384, embedding_size=384, head_size=32, num_labels=2, pooling="mean"
)


def steps(operator: int) -> list[int]:
    return [other for other in (operator - 1, operator + 1, MOST - operator) if 0 <= other <= MOST]


def within(limit: int):
    def feasible(choices):
        return sum(min(operators) for operators in choices) <= limit

    return feasible


@st.composite
def spaces(draw):
    """A space with a fitness, a reference and a budget that some child of it fits."""
    operators = st.lists(st.integers(0, MOST), min_size=1, max_size=6, unique=True)
    choices = tuple(tuple(each) for each in draw(st.lists(operators, min_size=1, max_size=4)))
    logits = [{operator: draw(st.floats(-3, 3)) for operator in position} for position in choices]
    reference = tuple(draw(st.sampled_from(position)) for position in choices)
    limit = sum(map(min, choices)) + draw(st.integers(0, 10))
    return choices, logits, Rules(reference, steps, within(limit), draw(st.floats(0, 0.9)))


COSTS = {operator: (float(operator),) for operator in range(MOST + 1)}


# An operator that is affordable only beside one which a later position drops is no successor.
LATER_DROP = (
    ((0, 2, 3), (2, 0, 1)),
    [{0: 0.0, 2: 0.0, 3: 0.0}, {2: 0.0, 0: -1.0, 1: 0.0}],
    Rules((0, 2), steps, within(1), 0.0),
)


@settings(max_examples=50)
@example(LATER_DROP, True, 0)
@given(spaces(), st.booleans(), st.integers(0, 99))
def test_whatever_the_fitness_the_laws_hold(drawn, replace, seed) -> None:
    choices, logits, rules = drawn
    banned = [{MOST} - set(position) for position in choices]
    after, changes = evolve(
        choices,
        logits,
        [COSTS] * len(choices),
        rules,
        replace=replace,
        banned=banned,
        rng=random.Random(seed),
    )
    assert rules.feasible(after)
    for position, (before, now, change) in enumerate(zip(choices, after, changes, strict=True)):
        assert rules.reference[position] in now
        assert len(set(now)) == len(now) <= len(before)
        new = {operator for operator, _ in change.added}
        assert set(now) == (set(before) - set(change.dropped)) | new
        assert not new & (set(before) | banned[position])
        assert not new or replace
        for operator, parent in change.added:
            assert parent in now
            assert operator in rules.mutations(parent)
            alone = (*after[:position], (operator,), *after[position + 1 :])
            assert rules.feasible(alone)


@settings(max_examples=50)
@given(spaces(), st.integers(0, 99))
def test_the_best_that_is_affordable_is_never_dropped_and_the_same_seed_does_the_same(drawn, seed) -> None:
    choices, logits, rules = drawn
    none, costs = [set()] * len(choices), [COSTS] * len(choices)
    first, again = (
        evolve(choices, logits, costs, rules, replace=True, banned=none, rng=random.Random(seed))
        for _ in range(2)
    )
    assert first == again
    for change in first[1]:
        pairs = list(zip(change.candidates, change.fates, strict=True))
        affordable = [candidate for candidate, fate in pairs if fate != "unaffordable"]
        assert affordable[0].operator not in change.dropped
        assert all(candidate.score < AVERAGE for candidate, fate in pairs if fate == "unfit")
        assert len(pairs) - len(change.dropped) >= min(FEWEST, len(affordable))


@settings(max_examples=50)
@given(spaces())
def test_what_no_child_can_afford_goes_first(drawn) -> None:
    choices, logits, rules = drawn
    none, costs = [set()] * len(choices), [COSTS] * len(choices)
    _, changes = evolve(choices, logits, costs, rules, replace=False, banned=none, rng=random.Random(0))
    fits = [child for child in itertools.product(*choices) if rules.feasible(tuple((o,) for o in child))]
    affordable = [set(column) for column in zip(*fits, strict=True)]
    for position, change in enumerate(changes):
        beyond = set(choices[position]) - affordable[position] - {rules.reference[position]}
        assert beyond <= set(change.dropped)


def test_generations_climb_to_a_planted_optimum() -> None:
    """Fitness favours 9 and the space starts at its other end: mutations of the fit get there."""
    choices, rng = ((0, 1, 2, 3),), random.Random(0)
    rules = Rules((0,), lambda operator: [operator - 1, operator + 1], lambda choices: True)
    banned: set[int] = set()
    costs = dict.fromkeys(range(-50, 50), (1.0,))
    for _ in range(30):
        logits = [{operator: -abs(operator - 9) / 2 for operator in choices[0]}]
        choices, changes = evolve(choices, logits, [costs], rules, replace=True, banned=[banned], rng=rng)
        banned |= set(changes[0].dropped)
    assert 9 in choices[0]
    assert 0 in choices[0]


def test_a_dominated_candidate_pays_for_what_it_wastes() -> None:
    logits = {"good": 1.0, "dear": 1.0, "dearest": 0.9, "poor": 0.0}
    costs = {"good": (1.0, 2.0), "dear": (2.0, 2.0), "dearest": (4.0, 4.0), "poor": (0.5, 0.5)}
    judged = {candidate.operator: candidate for candidate in judge(logits, costs, 0.5)}
    assert judged["good"].rival is None
    assert judged["poor"].rival is None, "the cheapest is dominated by none"
    assert judged["dear"].rival == "good"
    assert judged["dear"].waste == pytest.approx((1 / 4 + 0) / 2)
    assert judged["dearest"].rival == "good"
    assert judged["dearest"].waste == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert judged["dearest"].score == pytest.approx(judged["dearest"].fitness - 0.5 * 5 / 8)
    assert next(iter(judged)) == "good"


@given(st.dictionaries(st.integers(), st.floats(-50, 50), min_size=1, max_size=8))
def test_relative_fitness_has_mean_one_and_keeps_the_order(logits) -> None:
    fitness = relative_fitness(logits)
    assert sum(fitness.values()) / len(fitness) == pytest.approx(1)
    assert max(fitness.values()) == fitness[max(logits, key=logits.__getitem__)]


def test_false_savings_are_the_pairs_that_count_less_and_take_longer() -> None:
    counted = {"mha": 10.0, "ffn": 20.0, "conv": 5.0, "identity": 0.0}
    measured = {"mha": 3.0, "ffn": 2.0, "conv": 2.1, "identity": 0.0}
    found = false_savings(counted, counted, measured)
    assert [(each.operator, each.instead_of) for each in found] == [("mha", "ffn"), ("conv", "ffn")]
    assert found[0].counted_saving == pytest.approx(0.5)
    assert found[0].measured_loss == pytest.approx(0.5)
    assert len(false_savings(counted, counted, measured, margin=0.5)) == 1


def test_the_ladder_has_the_teachers_sizes_and_what_is_known() -> None:
    ladder = Ladder.of_teacher(WIDE, 12, 1536, known=[Operator("ffn", 100)])
    names = {operator.name for operator in ladder.operators}
    assert {"mha12", "mha6", "mha1", "ffn1536", "ffn96", "ffn100", "conv9", "identity"} <= names
    assert "mha24" not in names


def test_every_operator_is_reached_by_mutations_and_none_is_its_own() -> None:
    ladder = Ladder.of_teacher(WIDE, 12, 1536)
    reached, border = {Operator("mha", 12)}, [Operator("mha", 12)]
    while border:
        operator = border.pop()
        options = ladder.mutations(operator)
        assert operator not in options
        assert len(set(options)) == len(options)
        border += [option for option in options if option not in reached]
        reached |= set(options)
    assert reached == set(ladder.operators)


def test_mutations_change_the_size_by_a_step_or_the_kind() -> None:
    ladder = Ladder.of_teacher(WIDE, 12, 1536)
    names = {operator.name for operator in ladder.mutations(Operator("mha", 6))}
    assert {"mha4", "mha8"} <= names
    assert {operator.kind for operator in ladder.mutations(Operator("mha", 6))} == {*KINDS} - {"identity"}
    assert IDENTITY in ladder.mutations(Operator("conv", 3))
    assert {"mha1", "ffn96", "conv3", "geglu96", "gconv7"} == {o.name for o in ladder.mutations(IDENTITY)}
    with pytest.raises(ValueError, match="not on the ladder"):
        ladder.mutations(Operator("mha", 5))


def test_lost_is_what_dropped_counts() -> None:
    rules = Rules(("b",), lambda operator: ["d"], lambda choices: choices[0][0] != "c")
    logits = [{"a": -1.0, "b": -1.0, "c": 3.0}]
    _, (change,) = evolve(
        (("a", "b", "c"),),
        logits,
        [dict.fromkeys("abcd", (1.0,))],
        rules,
        replace=True,
        banned=[set()],
        rng=random.Random(0),
    )
    assert change.dropped == ("c",)
    assert change.fates[0] in LOST
    assert change.added == (("d", change.added[0][1]),)
