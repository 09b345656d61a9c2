"""The recipe's search under any budgets, scored by the trained supernet."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from bertcompress.pipeline.run import Run
from bertcompress.pipeline.scoring import drop_other_scores, scores_path
from bertcompress.search import (
    SEARCHERS,
    Budgets,
    Parsec,
    ScoreMany,
    Searcher,
    SearchResult,
    remembered,
    sampler_within,
    search,
)
from bertcompress.search.distribution import OperatorDistribution
from bertcompress.space import Child

SCORES_A_LINE = 25


def make_searcher(run: Run, budgets: Budgets, feasible: Child) -> Searcher:
    """The recipe's searcher under any budgets that `feasible` fits."""
    chosen = run.recipe.search
    sample = sampler_within(run.space, lambda child: budgets.fits(run.cost_of(child)), feasible)
    searcher = SEARCHERS[chosen.searcher](run.space, sample, run.cost_of, budgets, chosen.population_size)
    if isinstance(searcher, Parsec) and chosen.start_distribution is not None:
        searcher.distribution = OperatorDistribution.load(Path(chosen.start_distribution), run.space)
    return searcher


def search_within(
    run: Run, budgets: Budgets, feasible: Child, searcher: Searcher, score_many: ScoreMany
) -> SearchResult:
    """The recipe's search by a fresh searcher; scores that are on record are not computed again."""
    chosen = run.recipe.search
    path = scores_path(run)
    drop_other_scores(path)
    return search(
        run.space,
        searcher,
        score_many=remembered(_counted(run, score_many), path),
        cost_of=run.cost_of,
        budgets=budgets,
        num_evaluations=chosen.num_evaluations,
        rng=random.Random(run.recipe.seed),
        seeds=[feasible],
        ask_size=chosen.generation_size,
    )


def _counted(run: Run, score_many: ScoreMany) -> ScoreMany:
    """The same scores, with a line of progress for every so many."""
    count = 0

    def count_scores(children: Sequence[Child]) -> Iterator[tuple[Child, float]]:
        nonlocal count
        for scored in score_many(children):
            count += 1
            if count % SCORES_A_LINE == 0:
                run.say(f"search: {count} of at most {run.recipe.search.num_evaluations} children scored")
            yield scored

    return count_scores
