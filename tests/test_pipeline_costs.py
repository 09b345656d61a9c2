"""The recipe's limits as budgets on named costs, and what a child costs under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertcompress.export.size import estimate_size_mib
from bertcompress.latency import LatencyTable
from bertcompress.measure import Conditions
from bertcompress.pipeline.costs import cost_function, latency_conditions, speedups, wanted_budgets
from bertcompress.recipe import Recipe, load_recipe
from bertcompress.search import Budget, Budgets
from bertcompress.space import Architecture, Dimensions, Operator

FURTHER = "latency_ms@8x128-1t-fp32-cpu"


def recipe_with(tmp_path: Path, budget: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: tiny\ndata: {{source: reviews.csv}}\nbudget: {budget}\n", encoding="utf-8")
    return load_recipe(path)


def table(conditions: Conditions, intercept_ms: float) -> LatencyTable:
    costs = {"mha3": 2.0, "conv3": 0.5}
    return LatencyTable(conditions, "here", "wall", intercept_ms, costs, 4, 0, None, None)


def test_numbers_are_the_most_and_speedups_the_least(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, "{num_parameters: 100, size_mib: [1, 2], speedup: 4}")
    budgets = wanted_budgets(recipe, {"latency_ms": 12.0})
    assert budgets == Budgets.of(num_parameters=100, size_mib=(1.0, 2.0), latency_ms=3.0)
    assert speedups(recipe) == {"latency_ms": (4.0, None)}


def test_a_range_of_speedups_is_a_range_of_latencies_turned_round(tmp_path: Path) -> None:
    further = "{batch_size: 8, sequence_length: 128, speedup: {min: 2, max: 5}}"
    recipe = recipe_with(tmp_path, f"{{latency_ms: [1, 2], latencies: [{further}]}}")
    budgets = wanted_budgets(recipe, {"latency_ms": 12.0, FURTHER: 100.0})
    assert budgets.limits == (Budget("latency_ms", 2.0, 1.0), Budget(FURTHER, 50.0, 20.0))
    only_most = recipe_with(tmp_path, "{speedup: {max: 5}}")
    assert wanted_budgets(only_most, {"latency_ms": 10.0}) == Budgets.of(latency_ms=(2.0, None))


def test_every_named_condition_is_a_cost_of_its_own(tmp_path: Path) -> None:
    further = "{batch_size: 8, sequence_length: 128, latency_ms: 9}"
    recipe = recipe_with(tmp_path, f"{{macs: 10, size_mib: 3, latencies: [{further}]}}")
    conditions = latency_conditions(recipe)
    assert conditions == {"latency_ms": Conditions(), FURTHER: Conditions(8, 128)}
    dimensions = Dimensions(1000, 96, 96, 32, 2, "mean")
    tables = {name: table(each, 1.0 + index) for index, (name, each) in enumerate(conditions.items())}
    architecture = Architecture(dimensions, (Operator.parse("mha3"), Operator.parse("conv3")))
    cost = cost_function(recipe, dimensions, tables)(architecture.operators)
    assert cost.to_dict() == pytest.approx(
        {
            "num_parameters": architecture.num_parameters,
            "macs": architecture.macs(32),
            "size_mib": estimate_size_mib(architecture, "fp32"),
            "latency_ms": 3.5,
            FURTHER: 4.5,
        }
    )
    # The bounds stand in the order of the values, whatever the recipe limits.
    bounds = wanted_budgets(recipe, {}).bounds(cost.names)
    assert [upper for _, _, upper in bounds] == [float("inf"), 10, 3.0, float("inf"), 9.0]


def test_a_cost_that_nobody_limits_is_left_out_of_the_front(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, "{speedup: 2}")
    cost_of = cost_function(
        recipe, Dimensions(1000, 96, 96, 32, 2, "mean"), {"latency_ms": table(Conditions(), 1.0)}
    )
    assert cost_of(()).names == ("num_parameters", "latency_ms")
