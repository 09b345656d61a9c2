"""Laws of the race: rungs bound what is trained, the best of the last rung wins, baselines reach it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.search.race import Entrant, Rung, plan_rungs, race
from bertcompress.space import Operator


def entrants(number: int, origins: Sequence[str] = ("supernet",)) -> list[Entrant]:
    return [
        Entrant((Operator.parse(f"ffn{index + 1}"),), origins[index % len(origins)])
        for index in range(number)
    ]


def scores_by_name(scores: dict[str, float], trained: list[tuple[str, float]], seed: int = 0):
    """A score function that notes who trained for which share, and ends in random order."""

    def score_rung(racing: Sequence[Entrant], rung: Rung) -> Iterator[tuple[Entrant, float]]:
        for entrant in random.Random(seed).sample(list(racing), len(racing)):
            trained.append((entrant.name, rung.share))
            yield entrant, scores[entrant.name]

    return score_rung


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 5))
def test_rungs_fall_to_the_finalists_and_the_best_entrant_wins(
    number: int, finalists: int, seed: int
) -> None:
    field = entrants(number)
    finalists = min(finalists, number)
    scores = {
        entrant.name: float(value) for value, entrant in enumerate(random.Random(seed).sample(field, number))
    }
    trained: list[tuple[str, float]] = []
    rungs = plan_rungs(number, finalists, (0.1, 0.3, 1.0))
    placings = race(field, rungs, scores_by_name(scores, trained, seed))
    assert [rung.num_entrants for rung in rungs] == sorted(
        (rung.num_entrants for rung in rungs), reverse=True
    )
    assert [sum(share == rung.share for _, share in trained) for rung in rungs] == [
        r.num_entrants for r in rungs
    ]
    assert placings[0].score == 0.0
    assert {placing.entrant.name for placing in placings} == set(scores)
    assert [placing.rung.share for placing in placings] == sorted(
        (placing.rung.share for placing in placings), reverse=True
    )


def test_the_order_in_which_trainings_end_does_not_matter() -> None:
    field = entrants(12)
    scores = {entrant.name: float(index % 3) for index, entrant in enumerate(field)}
    rungs = plan_rungs(12, 2, (0.2, 1.0))
    orders = [race(field, rungs, scores_by_name(scores, [], seed)) for seed in range(4)]
    assert all(order == orders[0] for order in orders)


def test_the_best_of_a_seeded_origin_is_trained_in_full_and_wins_only_by_its_score() -> None:
    field = entrants(10, ("supernet", "hand design"))
    scores = {entrant.name: 1.0 + (entrant.origin == "hand design") for entrant in field}
    placings = race(field, plan_rungs(10, 2, (0.1, 1.0)), scores_by_name(scores, []), seeded=("hand design",))
    in_full = [placing.entrant for placing in placings if placing.rung.share == 1]
    assert [entrant.origin for entrant in in_full] == ["supernet", "supernet", "hand design"]


def test_a_training_that_broke_is_last() -> None:
    field = entrants(3)
    scores = dict(zip((entrant.name for entrant in field), (math.nan, 5.0, 4.0), strict=True))
    placings = race(field, plan_rungs(3, 3, (1.0,)), scores_by_name(scores, []))
    assert [placing.entrant.name for placing in placings] == ["ffn3", "ffn2", "ffn1"]


def test_what_cannot_be_raced_is_refused() -> None:
    with pytest.raises(ValueError, match="rising shares"):
        plan_rungs(8, 2, (0.5, 0.3, 1.0))
    with pytest.raises(ValueError, match="9 finalists of 8 entrants"):
        plan_rungs(8, 9, (0.5, 1.0))
    twice = [*entrants(2), *entrants(1)]
    with pytest.raises(ValueError, match="entrants of one chain"):
        race(twice, plan_rungs(3, 1, (1.0,)), scores_by_name({}, []))
