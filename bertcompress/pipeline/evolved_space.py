"""What a space's evolution came to: the result that the report reads, and the evolved recipe."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from bertcompress.evolve_space.autospace import Choices, FalseSaving, false_savings
from bertcompress.files import read_json
from bertcompress.pipeline.costs import LATENCY, cost_function
from bertcompress.pipeline.operator_prices import OperatorPrices
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import MANIFEST
from bertcompress.recipe import Recipe
from bertcompress.search import CostOf, check_feasible
from bertcompress.space import Child, Operator, SearchSpace, operator_macs, operator_parameters

FOLDER = "evolve-space"
RESULT = f"{FOLDER}/evolution.json"
RECIPE = f"{FOLDER}/recipe.yaml"
NUM_SAMPLED = 2000
HEADER = "# Written by `bertcompress evolve-space`: the recipe {name}, its operators evolved.\n"


def made_from(run: Run) -> dict[str, str]:
    """The hashes of what an evolution starts from, as the run's manifest has them."""
    stages = read_json(run.folder.path / MANIFEST)["stages"]
    return {stage: stages[stage]["inputs_hash"] for stage in ("latency", "teacher")}


def evolution_finding(run: Run) -> dict[str, Any]:
    """What `evolve-space` found, under "evolution"; nothing where it has not run, or for another teacher."""
    path = run.folder.path / RESULT
    found = read_json(path) if path.exists() else {}
    return {"evolution": found} if found.get("made_from") == made_from(run) else {}


def evolved_recipe(recipe: Recipe, choices: Choices[Operator]) -> str:
    """The recipe with the choices as its space, as YAML that every command takes."""
    values = recipe.model_dump(mode="json")
    values["name"] = f"{recipe.name}-evolved"
    values["space"]["operators"] = [[operator.name for operator in operators] for operators in choices]
    return HEADER.format(name=recipe.name) + Recipe.model_validate(values).to_yaml()


def describe_evolution(
    run: Run,
    prices: OperatorPrices,
    records: Sequence[dict[str, Any]],
    choices: Choices[Operator],
    reference: Child,
) -> dict[str, Any]:
    """Return all that evolution did, as JSON: generations, prices of operators, MACs saved that cost time."""
    after = SearchSpace(run.space.dimensions, choices)
    cost_of = cost_function(run.recipe, run.space.dimensions, prices.tables)
    fitting = check_feasible(after, cost_of, run.budgets, random.Random(run.recipe.seed))
    main, error_ms = prices.tables[LATENCY], prices.error_ms(LATENCY)
    seen = _seen(records)
    return {
        "generations": list(records),
        "before": _names(run.space.choices),
        "after": _names(choices),
        "num_children": [run.space.num_children, after.num_children],
        "share_within": [_share_within(run, space, cost_of) for space in (run.space, after)],
        "reference": [operator.name for operator in reference],
        "feasible_child": [operator.name for operator in fitting],
        "operators": [_operator_row(run, prices, operator) for operator in sorted(set().union(*seen))],
        "false_savings": _false_savings(run, prices, seen, error_ms or 0.0),
        "table": {"error_ms": error_ms, "num_chains": main.num_chains},
        "conditions": str(main.conditions),
        "seed": run.recipe.seed,
    }


def _share_within(run: Run, space: SearchSpace, cost_of: CostOf) -> float:
    """The share of children that fit the budgets, by a seeded sample."""
    rng = random.Random(run.recipe.seed)
    fits = [run.budgets.fits(cost_of(space.sample(rng))) for _ in range(NUM_SAMPLED)]
    return sum(fits) / NUM_SAMPLED


def _names(choices: Choices[Operator]) -> list[list[str]]:
    return [[operator.name for operator in operators] for operators in choices]


def _seen(records: Sequence[Mapping[str, Any]]) -> list[set[Operator]]:
    """The operators that were ever candidates, a set a position."""
    per_generation = [
        [{Operator.parse(c["operator"]) for c in position["candidates"]} for position in record["positions"]]
        for record in records
    ]
    return [set().union(*sets) for sets in zip(*per_generation, strict=True)]


def _operator_row(run: Run, prices: OperatorPrices, operator: Operator) -> dict[str, Any]:
    """Return an operator's counts and, by every latency, what it adds to a child: the mean over positions."""
    dimensions, length = run.space.dimensions, run.conditions.sequence_length
    return {
        "operator": operator.name,
        "num_parameters": operator_parameters(operator, dimensions),
        "macs": operator_macs(operator, dimensions, length) * run.conditions.batch_size,
        **{
            name: mean(prices.ms(name, position, operator) for position in range(run.space.num_positions))
            for name in prices.tables
        },
    }


def _false_savings(
    run: Run, prices: OperatorPrices, seen: Sequence[set[Operator]], error_ms: float
) -> list[dict[str, Any]]:
    """Return the pairs of which the operator of fewer MACs takes longer somewhere, the worst first.

    It has to take longer by more than the table's error on whole chains: of single operators the table knows
    no error. `time_lost` and `ms` are means over the positions where it does.
    """
    found: dict[tuple[Operator, Operator], dict[int, FalseSaving[Operator]]] = {}
    for position, operators in enumerate(seen):
        macs = {o: operator_macs(o, run.space.dimensions, run.conditions.sequence_length) for o in operators}
        ms = {operator: prices.ms(LATENCY, position, operator) for operator in operators}
        for saving in false_savings(sorted(operators), macs, ms, margin=error_ms):
            found.setdefault((saving.operator, saving.instead_of), {})[position] = saving
    rows = [_saving_row(prices, savings) for savings in found.values()]
    return sorted(rows, key=lambda row: -row["time_lost"])


def _saving_row(prices: OperatorPrices, savings: Mapping[int, FalseSaving[Operator]]) -> dict[str, Any]:
    """Return one pair's savings by position as a row."""
    pair = next(iter(savings.values()))
    return {
        "operator": pair.operator.name,
        "instead_of": pair.instead_of.name,
        "macs_saved": pair.counted_saving,
        "time_lost": mean(saving.measured_loss for saving in savings.values()),
        "ms": [
            mean(prices.ms(LATENCY, position, operator) for position in savings)
            for operator in (pair.operator, pair.instead_of)
        ],
        "positions": list(savings),
    }
