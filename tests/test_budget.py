"""Laws of budgets: what fits overshoots nothing, feasibility is what brute force finds, and a sampler never
returns a child that breaks a budget."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bertcompress.errors import BudgetError
from bertcompress.latency.chains import terms_of
from bertcompress.search import Budget, Budgets, Cost, check_feasible, nearest_child, sampler_within
from bertcompress.search.budget import CostOf
from bertcompress.space import Child, Dimensions, Operator, Pooling, SearchSpace, canonical

OPERATOR_NAMES = ["mha1", "mha2", "ffn16", "ffn48", "conv3", "conv7", "identity"]
DIMENSIONS = Dimensions(
    vocab_size=11, hidden_size=16, embedding_size=16, head_size=8, num_labels=2, pooling="cls"
)

Case = tuple[SearchSpace, CostOf, Budgets]
Table = tuple[float, dict[str, float]]  # a constant, and what each operator adds


def table_costs(costs: list[list[Table]], pooling: Pooling) -> CostOf:
    """Each the largest of sums over operators; one that is read at the first token only adds a third."""
    names = tuple(f"cost{index}" for index in range(len(costs)))

    def cost_of(child: Child) -> Cost:
        terms, identities = terms_of(canonical(child), pooling), len(child) - len(canonical(child))

        def total(constant: float, table: dict[str, float]) -> float:
            added = [table[term.operator.name] / (3 if term.first_token else 1) for term in terms]
            return constant + sum(added) + identities * table["identity"]

        return Cost(names, tuple(tuple(total(*table) for table in tables) for tables in costs))

    return cost_of


def every_cost(space: SearchSpace, cost_of: CostOf) -> list[Cost]:
    return [cost_of(child) for child in itertools.product(*space.choices)]


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """A uniform space, or one whose positions offer different operators."""
    names = st.lists(st.sampled_from(OPERATOR_NAMES), min_size=1, max_size=4, unique=True)
    dimensions = replace(DIMENSIONS, pooling=draw(st.sampled_from(["cls", "mean"])))
    if draw(st.booleans()):
        return SearchSpace.uniform(dimensions, draw(st.integers(1, 4)), draw(names))
    choices = draw(st.lists(names, min_size=1, max_size=4))
    return SearchSpace(dimensions, tuple(tuple(map(Operator.parse, position)) for position in choices))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A space, one to four costs of very different sizes, and limits at or about what a child costs.

    A cost is one sum, or the larger of two.
    """
    space = draw(spaces())
    number = draw(st.integers(1, 4))
    value = st.integers(0, 9) if draw(st.booleans()) else st.floats(0.0, 9.0)
    scale = draw(st.sampled_from([1.0, 1e-3, 1e6]))

    def table(least: int) -> Table:
        return scale * draw(st.integers(least, 20)), {name: scale * draw(value) for name in OPERATOR_NAMES}

    costs = [[table(1), *(table(-20) for _ in range(draw(st.integers(0, 1))))] for _ in range(number)]
    cost_of = table_costs(costs, space.dimensions.pooling)
    limits = []
    for name in cost_of(space.smallest()).names:
        reached = [cost_of(space.sample(random.Random(draw(st.integers(0, 99)))))[name] for _ in range(2)]
        near = [
            each * draw(st.sampled_from([1.0, 1.0, 0.9, 1.1, 1 - 1e-5, 1 + 1e-5, 1 - 1e-8]))
            for each in reached
        ]
        # Nothing is proven of a lower limit on the larger of two sums.
        is_sum = cost_of(space.smallest()).names_of_sums.count(name) == 1
        form = draw(st.sampled_from(["most", "free", *(["least", "both", "exactly"] if is_sum else [])]))
        limits.append(
            {
                "most": Budget(name, near[0]),
                "least": Budget(name, None, near[0]),
                "both": Budget(name, max(near), min(near)),
                "exactly": Budget(name, near[0], near[0]),
                "free": Budget(name),
            }[form]
        )
    return space, cost_of, Budgets(tuple(limits))


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_feasibility_is_what_brute_force_finds(case: Case) -> None:
    space, cost_of, budgets = case
    if any(map(budgets.fits, every_cost(space, cost_of))):
        child = check_feasible(space, cost_of, budgets, random.Random(0))
        assert space.contains(child)
        assert budgets.fits(cost_of(child))
    else:
        with pytest.raises(BudgetError, match="budget has"):
            check_feasible(space, cost_of, budgets, random.Random(0))


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_no_child_is_nearer_to_the_budgets_than_the_nearest(case: Case) -> None:
    space, cost_of, budgets = case
    nearest = nearest_child(space, cost_of, budgets, random.Random(0))
    assert nearest.cost == cost_of(nearest.child)
    least = min(map(budgets.overshoot, every_cost(space, cost_of)))
    # The solver tells shares of a limit apart down to a millionth or so.
    assert budgets.overshoot(nearest.cost) == pytest.approx(least, rel=1e-6, abs=2e-6)


@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_sampler_never_breaks_a_budget(case: Case, seed: int) -> None:
    space, cost_of, budgets = case
    assume(any(map(budgets.fits, every_cost(space, cost_of))))
    fitting = check_feasible(space, cost_of, budgets, random.Random(0))
    sample = sampler_within(space, lambda child: budgets.fits(cost_of(child)), fitting)
    child = sample(random.Random(seed))
    assert space.contains(child)
    assert budgets.fits(cost_of(child))


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_what_fits_is_within_the_bounds_and_overshoots_nothing(case: Case) -> None:
    space, cost_of, budgets = case
    for cost in every_cost(space, cost_of):
        bounds = budgets.bounds(cost.names)
        assert [name for name, _, _ in bounds] == list(cost.names)
        within = all(
            lower * (1 - 1e-12) <= value <= upper * (1 + 1e-12)
            for (_, lower, upper), value in zip(bounds, cost.values, strict=True)
        )
        assert within == budgets.fits(cost) == (budgets.overshoot(cost) == 0.0)


@given(case=cases(), factor=st.floats(1.0, 2.0))
@settings(max_examples=50, deadline=None)
def test_a_wider_budget_is_never_overshot_by_more(case: Case, factor: float) -> None:
    space, cost_of, budgets = case
    wider = Budgets(
        tuple(
            Budget(each.name, each.upper and each.upper * factor, each.lower and each.lower / factor)
            for each in budgets.limits
        )
    )
    for cost in every_cost(space, cost_of):
        assert wider.overshoot(cost) <= budgets.overshoot(cost) + 1e-12


def test_overshoots_add_up_as_shares_of_the_limits() -> None:
    budgets = Budgets.of(num_parameters=100, latency_ms=(2.0, 4.0), macs=None)
    assert budgets.fits(Cost.of(num_parameters=100, latency_ms=2.0))
    assert budgets.overshoot(Cost.of(num_parameters=150, latency_ms=1.0)) == 0.5 + 0.5
    assert budgets.overshoot(Cost.of(num_parameters=1, latency_ms=5.0)) == 0.25
    names = ("latency_ms", "macs", "num_parameters")
    assert budgets.bounds(names) == (
        ("latency_ms", 2.0, 4.0),
        ("macs", -math.inf, math.inf),
        ("num_parameters", -math.inf, 100),
    )
    assert Budgets.from_list(budgets.to_list()) == budgets


def test_a_budget_needs_its_cost() -> None:
    cost = Cost.of(num_parameters=10)
    assert cost.get("latency_ms") is None
    with pytest.raises(ValueError, match="latency_ms"):
        Budgets.of(latency_ms=1.0).fits(cost)
    with pytest.raises(ValueError, match="latency_ms"):
        Budgets.of(latency_ms=1.0).bounds(cost.names)


@pytest.mark.parametrize(("upper", "lower"), [(0.0, None), (-1.0, None), (1.0, 2.0)])
def test_limits_that_leave_nothing_are_refused(upper: float, lower: float | None) -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        Budget("size_mib", upper, lower)


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match="two budgets"):
        Budgets((Budget("macs", 1.0), Budget("macs", 2.0)))
    with pytest.raises(ValueError, match="names"):
        Cost(("macs", "macs"), ((1.0,), (2.0,)))


LATENCY_MS = {"mha1": 2.0, "ffn48": 1.5}


def two_costs(child: Child) -> Cost:
    """Attention is the smaller of the two here, and the slower."""
    latency_ms = 1.0 + sum(LATENCY_MS[operator.name] for operator in child)
    return Cost.of(num_parameters=100 + sum(operator.size for operator in child), latency_ms=latency_ms)


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        (
            Budgets.of(num_parameters=99, latency_ms=0.5),
            [
                "num_parameters: 99 is below the smallest reachable, 103 by mha1-mha1-mha1",
                "latency_ms: 0.5 is below the smallest reachable, 5.5 by ffn48-ffn48-ffn48",
            ],
        ),
        (
            Budgets.of(num_parameters=(5_000, None), latency_ms=6.5),
            ["num_parameters: 5,000 is above the largest reachable, 244 by ffn48-ffn48-ffn48"],
        ),
        (
            Budgets.of(latency_ms=(5.6, 5.7)),
            ["latency_ms: no child has from 5.6 to 5.7; the nearest is 5.5 by ffn48-ffn48-ffn48"],
        ),
        (
            Budgets.of(num_parameters=103, latency_ms=5.5),
            [
                "latency_ms at most 5.5; within that the nearest is 244 by ffn48-ffn48-ffn48",
                "num_parameters at most 103; within that the nearest is 7 by mha1-mha1-mha1",
                "nearest to all together is num_parameters 103, latency_ms 7 by mha1-mha1-mha1",
            ],
        ),
    ],
)
def test_an_impossible_budget_is_answered_with_the_nearest(budgets: Budgets, words: list[str]) -> None:
    space = SearchSpace.uniform(DIMENSIONS, 3, ["mha1", "ffn48"])
    with pytest.raises(BudgetError) as caught:
        check_feasible(space, two_costs, budgets, random.Random(0))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_large_space_with_ranges_is_answered() -> None:
    rng = random.Random(0)
    names = (
        [f"mha{heads}" for heads in (1, 2)] + [f"ffn{width}" for width in range(1, 9)] + ["conv3", "identity"]
    )
    tables = [[(1.0, {name: rng.uniform(0.1, 9) for name in names})] for _ in range(3)]
    space = SearchSpace.uniform(DIMENSIONS, 24, names)
    cost_of = table_costs(tables, DIMENSIONS.pooling)
    aim = cost_of(space.sample(rng))
    budgets = Budgets(tuple(Budget(name, 1.01 * aim[name], 0.99 * aim[name]) for name in aim.names))
    assert budgets.fits(cost_of(check_feasible(space, cost_of, budgets, random.Random(0))))


@pytest.mark.parametrize("search", [check_feasible, nearest_child])
def test_a_lower_limit_on_the_larger_of_two_sums_is_refused(search: Callable[..., object]) -> None:
    space = SearchSpace.uniform(DIMENSIONS, 3, ["mha1", "ffn48"])

    def cost_of(child: Child) -> Cost:
        size = float(sum(operator.size for operator in child))
        return Cost.of(macs=size, latency_ms=(1.0 + size, 2.0 * size))

    with pytest.raises(BudgetError, match="latency_ms: from 2 to 9; it is the larger of two sums"):
        search(space, cost_of, Budgets.of(latency_ms=(2.0, 9.0)), random.Random(0))
    assert check_feasible(space, cost_of, Budgets.of(macs=(2.0, 9.0), latency_ms=9.0), random.Random(0))


def test_costs_that_are_no_sums_are_caught() -> None:
    space = SearchSpace.uniform(DIMENSIONS, 4, ["mha1", "conv3", "identity"])

    def interacting(child: Child) -> Cost:
        return Cost.of(num_parameters=100 + len({operator.name for operator in child}) ** 2)

    with pytest.raises(ValueError, match="not sums"):
        check_feasible(space, interacting, Budgets.of(num_parameters=10), random.Random(0))
