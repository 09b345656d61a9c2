"""Search under the budgets, measure the best whole, and name the winner."""

from __future__ import annotations

from typing import Any

from bertcompress.files import read_json
from bertcompress.pipeline.finalists import choose_winner, measure_finalists
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.scoring import SCORES, open_evaluator
from bertcompress.pipeline.searching import make_searcher, search_within
from bertcompress.pipeline.stage import Stage
from bertcompress.search import Evaluation, Parsec, SearchResult
from bertcompress.space import Child, Operator


def search_children(run: Run) -> None:
    """Search under the budgets, measure the best whole, and name the best that fits as the winner.

    Raises:
        BudgetError: none of the finalists' exported files meets the budgets.
    """
    feasible = tuple(Operator.parse(name) for name in run.latency["feasible_child"])
    searcher = make_searcher(run, run.budgets, feasible)
    with open_evaluator(run) as score_many:
        result = search_within(run, run.budgets, feasible, searcher, score_many)
    if isinstance(searcher, Parsec):
        searcher.distribution.save(run.path("search", "distribution.json"))
    finalists = measure_finalists(run, result.evaluations, run.budgets)
    described = {
        "winner": choose_winner(finalists, run.budgets)["placed"],
        "finalists": finalists,
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


def winner_child(run: Run) -> Child:
    """The search's winner, placed on the space's positions."""
    return tuple(Operator.parse(name) for name in read_json(run.path("search", "search.json"))["winner"])


STAGE = Stage("search", ("search",), ("supernet",), search_children, caches=(SCORES,))
