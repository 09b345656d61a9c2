"""Laws of who races: hand designs fit and are as large as may be, proposals are different networks."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.errors import BudgetError
from bertcompress.pipeline import entrants as module
from bertcompress.pipeline.entrants import (
    DIVERSE,
    HAND_DESIGN,
    STATIC,
    SUPERNET,
    entrants_of,
    hand_designs,
    most_different,
    propose,
)
from bertcompress.search import Budgets, Cost, Evaluation
from bertcompress.space import Architecture, Child, Dimensions, Operator, SearchSpace, canonical

OPERATORS = ["mha3", "mha6", "ffn384", "ffn768", "conv3", "conv5", "identity"]


def fake_run(budgets: Budgets, num_entrants: int = 12) -> Any:
    """What proposing reads of a run; latency is made up from the products."""
    space = SearchSpace.uniform(Dimensions(100, 384, 128, 32, 2, "mean"), 4, OPERATORS)

    def cost_of(child: Child) -> Cost:
        architecture = Architecture(space.dimensions, child)
        return Cost.of(num_parameters=architecture.num_parameters, latency_ms=architecture.macs(32) / 1e8)

    race = SimpleNamespace(num_entrants=num_entrants)
    return SimpleNamespace(space=space, budgets=budgets, cost_of=cost_of, recipe=SimpleNamespace(race=race))


def evaluations(run: Any, number: int, seed: int = 0) -> list[Evaluation]:
    """Different children that fit, with random scores."""
    rng, found = random.Random(seed), {}
    while len(found) < number:
        placed = tuple(rng.choice(choice) for choice in run.space.choices)
        child = canonical(placed)
        if run.budgets.fits(run.cost_of(child)):
            found[child] = Evaluation(child, placed, rng.random(), run.cost_of(child))
    return list(found.values())


@pytest.fixture(autouse=True)
def _measured_as_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measured_costs", lambda run, children, costs: list(costs))


@given(st.integers(400_000, 4_000_000))
def test_hand_designs_fit_and_one_more_layer_would_not(limit: int) -> None:
    run = fake_run(Budgets.of(num_parameters=limit))
    found = hand_designs(run, run.budgets)
    for child in found:
        assert run.budgets.fits(run.cost_of(child))
        layer = child[:2] if child[0].kind == "mha" else child[:1]
        assert child == layer * (len(child) // len(layer))
    for layer in {child[:2] for child in found if child[0].kind == "mha"}:
        assert not run.budgets.fits(run.cost_of(max(child for child in found if child[:2] == layer) + layer))


def test_proposals_are_of_every_origin_and_none_comes_twice() -> None:
    run = fake_run(Budgets.of(num_parameters=2_000_000))
    scored = evaluations(run, 60)
    proposals = propose(run, scored, run.budgets)
    names = [proposal.entrant.name for proposal in proposals]
    assert len(names) == len(set(names)) == 12
    origins = [proposal.entrant.origin for proposal in proposals]
    assert {SUPERNET, DIVERSE, HAND_DESIGN, STATIC} == set(origins)
    best = min(scored, key=lambda each: each.score)
    hand_made = {proposal.entrant.child for proposal in proposals if proposal.score is None}
    assert best.child in hand_made or proposals[0].entrant.child == best.child
    assert all(run.budgets.fits(proposal.measured) for proposal in proposals)


def test_only_those_race_that_fit_when_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    run = fake_run(Budgets.of(latency_ms=0.5))
    slow = Cost.of(num_parameters=1.0, latency_ms=9.0)

    def measured(run: Any, children: list[Child], costs: list[Cost]) -> list[Cost]:
        return [
            slow if Operator.parse("conv3") in child else cost
            for child, cost in zip(children, costs, strict=True)
        ]

    monkeypatch.setattr(module, "measured_costs", measured)
    rows = [proposal.row(run.budgets) for proposal in propose(run, evaluations(run, 40), run.budgets)]
    racing = entrants_of(rows)
    assert racing
    assert all(Operator.parse("conv3") not in entrant.child for entrant in racing)
    monkeypatch.setattr(module, "measured_costs", lambda run, children, costs: [slow] * len(costs))
    with pytest.raises(BudgetError, match="measured whole outside"):
        propose(run, evaluations(run, 40), run.budgets)


def test_the_most_different_are_far_from_all_that_were_chosen() -> None:
    run = fake_run(Budgets.of(num_parameters=10**9))

    def evaluation(*names: str) -> Evaluation:
        child = tuple(Operator.parse(name) for name in names)
        return Evaluation(child, child, 0.0, run.cost_of(child))

    chosen = [evaluation("mha3", "ffn384")]
    near, far = evaluation("mha3", "ffn768"), evaluation("conv5", "conv5", "conv5")
    assert most_different([near, far], chosen, 1) == [far]
    assert most_different([near, far], chosen, 5) == [far, near]
