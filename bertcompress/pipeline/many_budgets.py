"""Many budgets from one supernet: what is trained, timed and scored once serves all of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bertcompress.errors import BudgetError, RecipeError, RunFolderError
from bertcompress.latency.benchmark import origin
from bertcompress.pipeline.finalists import choose_winner, measure_finalists
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.scoring import open_evaluator
from bertcompress.pipeline.searching import make_searcher, search_within
from bertcompress.recipe import load_recipe
from bertcompress.report.budget_table import write_budget_table
from bertcompress.search import Budgets, Evaluation, check_feasible, nearest_child, pareto_front
from bertcompress.space import Architecture, Child

OWN_SECTION = "search."


def open_run(folder: Path, overrides: Sequence[str] = (), console: Console | None = None) -> Run:
    """The run in a folder that holds a trained supernet; of its recipe only the search may be overridden.

    Raises:
        RunFolderError: the folder is no run's, or its supernet is not trained.
        RecipeError: an override would change what the supernet was trained from.
    """
    refused = [override for override in overrides if not override.startswith(OWN_SECTION)]
    if refused:
        words = f"the supernet in {folder} is trained already; set {OWN_SECTION}KEY=VALUE only"
        raise RecipeError.from_problems("--set", [f"{override}: {words}" for override in refused])
    run_folder = RunFolder(folder)
    if not run_folder.exists():
        raise RunFolderError(f"{folder}: holds no run; name a recipe, or the folder of a run")
    if "supernet" not in {stage["name"] for stage in run_folder.stage_seconds()}:
        raise RunFolderError(
            f"{folder}: has no trained supernet; run `bertcompress run {folder / 'recipe.yaml'} "
            f"--run-dir {folder} --until supernet` first"
        )
    return Run(load_recipe(folder / "recipe.yaml", overrides), run_folder, console)


def combinations(run: Run, limits: Mapping[str, Sequence[float]]) -> list[Budgets]:
    """The run's own budgets with every combination of the given upper limits in place of its own."""
    own = {budget.name: (budget.lower, budget.upper) for budget in run.budgets.limits}
    return [
        Budgets.of(**own | dict(zip(limits, values, strict=True)))
        for values in itertools.product(*limits.values())
    ]


def search_many(run: Run, wanted: Sequence[Budgets]) -> dict[str, Any]:
    """A winner for each of the budgets, the front of all children scored, and what was not to be had.

    A winner is the best of everything that was scored under any of the budgets, as long as it fits, predicted
    and measured. Scores on record are read and not computed again. Also written to search/budgets.json and
    search/budgets.md.
    """
    wanted = list(dict.fromkeys(wanted))
    feasible: dict[Budgets, Child] = {}
    outcomes: dict[Budgets, dict[str, Any]] = {}
    for budgets in wanted:
        try:
            feasible[budgets] = check_feasible(run.space, run.cost_of, budgets, _rng(run))
        except BudgetError as error:
            outcomes[budgets] = _refused(run, budgets, error)
    scored = list(_search_each(run, feasible).values())
    outcomes |= {budgets: _winner(run, budgets, scored) for budgets in feasible}
    front = pareto_front(scored, lambda each: (each.score, *each.cost.values))
    described = {
        **origin(run.conditions.provider),
        "name": run.recipe.name,
        "seed": run.recipe.seed,
        "searcher": run.recipe.search.searcher,
        "trained_within": run.budgets.to_list() if run.recipe.supernet.sample_within_budget else [],
        "conditions": run.latency["conditions"],
        "num_scored": len(scored),
        "combinations": [outcomes[budgets] for budgets in wanted],
        "front": [_child_row(evaluation) for evaluation in front],
    }
    run.folder.write_json("search/budgets.json", described)
    write_budget_table(described, run.path("search", "budgets.md"))
    return described


def _rng(run: Run) -> random.Random:
    return random.Random(run.recipe.seed)


def _search_each(run: Run, feasible: Mapping[Budgets, Child]) -> dict[Child, Evaluation]:
    """All that a search under each of the budgets scored, by canonical child, in its best placement."""
    scored: dict[Child, Evaluation] = {}
    with open_evaluator(run) as score_many:
        for index, (budgets, child) in enumerate(feasible.items(), start=1):
            run.say(f"search: budgets {index} of {len(feasible)}")
            searcher = make_searcher(run, budgets, child)
            for found in search_within(run, budgets, child, searcher, score_many).evaluations:
                known = scored.get(found.child, found)
                scored[found.child] = min(known, found, key=lambda each: each.score)
    return scored


def _refused(run: Run, budgets: Budgets, error: BudgetError) -> dict[str, Any]:
    """The outcome of budgets that no child fits: why, and what comes nearest."""
    nearest = nearest_child(run.space, run.cost_of, budgets, _rng(run))
    described: dict[str, Any] = {"architecture": Architecture(run.space.dimensions, nearest.child).name}
    described |= {
        "placed": [operator.name for operator in nearest.child],
        "predicted": nearest.cost.to_dict(),
    }
    return {"budgets": budgets.to_list(), "winner": None, "problem": str(error), "nearest": described}


def _winner(run: Run, budgets: Budgets, scored: Sequence[Evaluation]) -> dict[str, Any]:
    """The outcome of budgets that some child fits; finalists that measured too slow are told, too."""
    fitting = [evaluation for evaluation in scored if budgets.fits(evaluation.cost)]
    finalists = measure_finalists(run, fitting, budgets)
    found: dict[str, Any] = {
        "budgets": budgets.to_list(),
        "num_fitting": len(fitting),
        "finalists": finalists,
    }
    try:
        return {**found, "winner": choose_winner(finalists, budgets), "problem": None, "nearest": None}
    except BudgetError as error:
        return {**found, "winner": None, "problem": str(error), "nearest": None}


def _child_row(evaluation: Evaluation) -> dict[str, Any]:
    placed = [operator.name for operator in evaluation.placed]
    scored = {"architecture": evaluation.name, "placed": placed, "score": evaluation.score}
    return {**scored, "predicted": evaluation.cost.to_dict()}
