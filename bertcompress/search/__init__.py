"""Search under budgets: who proposes (SEARCHERS), what fits (budget, feasibility), the one loop (driver)."""

from __future__ import annotations

from collections.abc import Callable

from bertcompress.search.budget import (
    Budget,
    Budgets,
    Cost,
    CostOf,
    SampleChild,
    sampler_within,
)
from bertcompress.search.driver import (
    Evaluation,
    ScoreMany,
    Searcher,
    SearchResult,
    one_by_one,
    search,
)
from bertcompress.search.evolution import Evolution
from bertcompress.search.feasibility import PricedChild, check_feasible, nearest_child
from bertcompress.search.pareto import pareto_front
from bertcompress.search.random_search import RandomSearch
from bertcompress.space import SearchSpace

# Each makes a searcher from the space, a sampler of children that fit, and the population size.
SEARCHERS: dict[str, Callable[[SearchSpace, SampleChild, int], Searcher]] = {
    "random": lambda space, sample, population_size: RandomSearch(sample),
    "evolution": Evolution,
}

__all__ = [
    "SEARCHERS",
    "Budget",
    "Budgets",
    "Cost",
    "CostOf",
    "Evaluation",
    "Evolution",
    "PricedChild",
    "RandomSearch",
    "SampleChild",
    "ScoreMany",
    "SearchResult",
    "Searcher",
    "check_feasible",
    "nearest_child",
    "one_by_one",
    "pareto_front",
    "sampler_within",
    "search",
]
