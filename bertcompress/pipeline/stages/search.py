"""Search under the budgets, and measure whole who is to race."""

from __future__ import annotations

from typing import Any

from bertcompress.files import read_json
from bertcompress.pipeline.entrants import entrants_of, propose
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.scoring import SCORES, open_evaluator
from bertcompress.pipeline.searching import make_searcher, search_within
from bertcompress.pipeline.stage import Stage
from bertcompress.search import Evaluation, Parsec, SearchResult
from bertcompress.search.race import Entrant
from bertcompress.space import Operator


def search_children(run: Run) -> None:
    """Search under the budgets, and measure whole who is to race.

    Raises:
        BudgetError: none of the entrants' exported files meets the budgets.
    """
    feasible = tuple(Operator.parse(name) for name in run.latency["feasible_child"])
    searcher = make_searcher(run, run.budgets, feasible)
    with open_evaluator(run) as score_many:
        result = search_within(run, run.budgets, feasible, searcher, score_many)
    if isinstance(searcher, Parsec):
        searcher.distribution.save(run.path("search", "distribution.json"))
    proposals = propose(run, result.evaluations, run.budgets)
    described = {
        "finalists": [proposal.row(run.budgets) for proposal in proposals],
        "evaluated": [_evaluation_row(evaluation, result) for evaluation in result.evaluations],
        "stopped_because": result.stopped_because,
    }
    run.folder.write_json("search/search.json", described)


def _evaluation_row(evaluation: Evaluation, result: SearchResult) -> dict[str, Any]:
    return {
        "architecture": evaluation.name,
        "score": evaluation.score,
        **evaluation.cost.to_dict(),
        "fits": True,
        "on_front": evaluation in result.front,
    }


def entrants(run: Run) -> list[Entrant]:
    """Who races, as the search stage left it."""
    return entrants_of(read_json(run.path("search", "search.json"))["finalists"])


STAGE = Stage("search", ("search", "race.num_entrants"), ("supernet",), search_children, caches=(SCORES,))
