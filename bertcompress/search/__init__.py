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
from bertcompress.search.feasibility import PricedChild, check_feasible, fitting_child, nearest_child
from bertcompress.search.pareto import pareto_front
from bertcompress.search.remembered import remembered
from bertcompress.search.searchers.evolution import Evolution
from bertcompress.search.searchers.exact import Exact
from bertcompress.search.searchers.parsec import Parsec
from bertcompress.search.searchers.progressive import Progressive
from bertcompress.search.searchers.random_search import RandomSearch
from bertcompress.search.searchers.reinforce import Reinforce
from bertcompress.space import SearchSpace

# Each makes a searcher from the space, a sampler of children that fit, how children are priced, the budgets,
# and the size of the population (evolution), of the beam (progressive) or of the random design (exact).
SEARCHERS: dict[str, Callable[[SearchSpace, SampleChild, CostOf, Budgets, int], Searcher]] = {
    "random": lambda space, sample, cost_of, budgets, size: RandomSearch(sample),
    "evolution": lambda space, sample, cost_of, budgets, size: Evolution(space, sample, size),
    "reinforce": lambda space, sample, cost_of, budgets, size: Reinforce(space, sample, cost_of, budgets),
    "parsec": lambda space, sample, cost_of, budgets, size: Parsec(space, sample, cost_of, budgets),
    "progressive": lambda space, sample, cost_of, budgets, size: Progressive(
        space, sample, lambda child: budgets.fits(cost_of(child)), size
    ),
    "exact": lambda space, sample, cost_of, budgets, size: Exact(
        space, sample, cost_of, budgets, design_size=size
    ),
}

__all__ = [
    "SEARCHERS",
    "Budget",
    "Budgets",
    "Cost",
    "CostOf",
    "Evaluation",
    "Evolution",
    "Exact",
    "Parsec",
    "PricedChild",
    "Progressive",
    "RandomSearch",
    "Reinforce",
    "SampleChild",
    "ScoreMany",
    "SearchResult",
    "Searcher",
    "check_feasible",
    "fitting_child",
    "nearest_child",
    "one_by_one",
    "pareto_front",
    "remembered",
    "sampler_within",
    "search",
]
