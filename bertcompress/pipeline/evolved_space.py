"""What a space's evolution came to: the result that the report reads, and the evolved recipe."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bertcompress.evolve_space.autospace import Choices, false_savings
from bertcompress.files import read_json
from bertcompress.latency.table import LatencyTable
from bertcompress.pipeline.costs import LATENCY, cost_function
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import MANIFEST
from bertcompress.recipe import Recipe
from bertcompress.search import CostOf, check_feasible
from bertcompress.space import IDENTITY, Child, Operator, SearchSpace, operator_macs, operator_parameters

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
    tables: Mapping[str, LatencyTable],
    records: Sequence[dict[str, Any]],
    choices: Choices[Operator],
    reference: Child,
) -> dict[str, Any]:
    """All that evolution did, as JSON: generations, what operators cost, savings of MACs that were none."""
    after = SearchSpace(run.space.dimensions, choices)
    cost_of = cost_function(run.recipe, run.space.dimensions, tables)
    fitting = check_feasible(after, cost_of, run.budgets, random.Random(run.recipe.seed))
    main = tables[LATENCY]
    seen = _seen(records)
    error_ms = chain_error_ms(main, seen)
    return {
        "generations": list(records),
        "before": _names(run.space.choices),
        "after": _names(choices),
        "num_children": [run.space.num_children, after.num_children],
        "share_within": [_share_within(run, space, cost_of) for space in (run.space, after)],
        "reference": [operator.name for operator in reference],
        "feasible_child": [operator.name for operator in fitting],
        "operators": [_operator_row(run, tables, operator) for operator in sorted(set().union(*seen))],
        "false_savings": _false_savings(run, main, seen, error_ms or 0.0),
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


def _operator_row(run: Run, tables: Mapping[str, LatencyTable], operator: Operator) -> dict[str, Any]:
    dimensions, length = run.space.dimensions, run.conditions.sequence_length
    return {
        "operator": operator.name,
        "num_parameters": operator_parameters(operator, dimensions),
        "macs": operator_macs(operator, dimensions, length) * run.conditions.batch_size,
        **{name: operator_ms(table, operator) for name, table in tables.items()},
    }


def operator_ms(table: LatencyTable, operator: Operator) -> float:
    """What an operator takes by a table that holds all but the identity, which takes nothing."""
    return 0.0 if operator == IDENTITY else table.coefficients_ms[operator.name]


def chain_error_ms(table: LatencyTable, positions: Sequence[Collection[Operator]]) -> float | None:
    """The table's mean error on held-out chains, in milliseconds of a mean child; None if it is unknown."""
    if table.mape_percent is None:
        return None
    means = [sum(operator_ms(table, operator) for operator in each) / len(each) for each in positions]
    return (table.intercept_ms + sum(means)) * table.mape_percent / 100


def _false_savings(
    run: Run, table: LatencyTable, seen: Sequence[set[Operator]], error_ms: float
) -> list[dict[str, Any]]:
    """Pairs of a position in which the one of fewer MACs takes longer, by more than the table's error.

    That is its error on whole chains, a mean child's: of the operators' own costs it knows none.
    """
    operators = sorted(set().union(*seen))
    macs = {o: operator_macs(o, run.space.dimensions, run.conditions.sequence_length) for o in operators}
    ms = {operator: operator_ms(table, operator) for operator in operators}
    found = []
    for saving in false_savings(operators, macs, ms, margin=error_ms):
        pair = {saving.operator, saving.instead_of}
        positions = [position for position, known in enumerate(seen) if pair <= known]
        if positions:
            found.append(
                {
                    "operator": saving.operator.name,
                    "instead_of": saving.instead_of.name,
                    "macs_saved": saving.counted_saving,
                    "time_lost": saving.measured_loss,
                    "ms": [ms[saving.operator], ms[saving.instead_of]],
                    "positions": positions,
                }
            )
    return found
