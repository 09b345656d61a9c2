"""Who races: children that the search proposes, hand-designed networks, and the static one.

The supernet proposes and real distillation decides. Its scores on a few hundred validation rows cannot tell
children apart that start from one teacher, so half of the places go to children that are unlike the ones
scored best, and hand-designed networks compete on equal terms."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bertcompress.errors import BudgetError
from bertcompress.pipeline.costs import LATENCY
from bertcompress.pipeline.finalists import is_clear, measured_costs, none_fits
from bertcompress.pipeline.operator_costs import baseline_operators
from bertcompress.pipeline.run import Run
from bertcompress.search import Budgets, Cost, Evaluation
from bertcompress.search.race import Entrant
from bertcompress.space import KINDS, Architecture, Child, Operator, canonical

SUPERNET, DIVERSE, HAND_DESIGN, STATIC = "supernet", "diverse", "hand design", "static"
BASELINES = (HAND_DESIGN, STATIC)
MOST_LAYERS = 12
NUM_HAND_DESIGNS = 3


@dataclass(frozen=True)
class Proposal:
    """A child that may race, with its costs: predicted, and as measured on its exported file."""

    entrant: Entrant
    placed: Child
    score: float | None
    predicted: Cost
    measured: Cost

    def row(self, budgets: Budgets) -> dict[str, Any]:
        """Plain values for search.json."""
        return {
            "architecture": self.entrant.name,
            "placed": [operator.name for operator in self.placed],
            "origin": self.entrant.origin,
            "score": self.score,
            "predicted_ms": self.predicted[LATENCY],
            "measured_ms": self.measured[LATENCY],
            "predicted": self.predicted.to_dict(),
            "measured": self.measured.to_dict(),
            "fits": budgets.fits(self.measured),
            "clear": is_clear(budgets, self.measured),
        }


def propose(run: Run, evaluations: Sequence[Evaluation], budgets: Budgets) -> list[Proposal]:
    """Return who may race, all measured whole; some of them may not fit the budgets when measured.

    Half of the places that the hand-designed networks and the static one leave are the supernet's best, the
    rest are as unlike those, and each other, as can be.

    Raises:
        BudgetError: nobody fits.
    """
    number = run.recipe.race.num_entrants
    baselines = [Entrant(child, HAND_DESIGN) for child in hand_designs(run, budgets)]
    if budgets.fits(run.cost_of(())):
        baselines.append(Entrant((), STATIC))
    taken = {entrant.child for entrant in baselines[: max(0, number - 1)]}
    searched = [each for each in _by_score(evaluations) if each.child not in taken]
    places = max(1, number - len(taken))
    best = searched[: -(-places // 2)]
    unlike = most_different(searched[len(best) :], best, places - len(best))
    entrants = [
        *((Entrant(each.child, SUPERNET), each) for each in best),
        *((Entrant(each.child, DIVERSE), each) for each in unlike),
        *((entrant, None) for entrant in baselines if entrant.child in taken),
    ]
    proposals = _measured(run, entrants)
    if not any(budgets.fits(proposal.measured) for proposal in proposals):
        rows = [proposal.row(budgets) for proposal in proposals]
        raise BudgetError(none_fits(rows, budgets, "race.num_entrants"))
    return proposals


def hand_designs(run: Run, budgets: Budgets) -> list[Child]:
    """Return the largest BERTs of equal layers that fit, and chains of the cheapest other mixing operator."""
    attentions, feed_forwards = baseline_operators(run)
    largest = []
    for layer in itertools.product(attentions, feed_forwards):
        largest += _deepest([layer * depth for depth in range(1, MOST_LAYERS + 1)], run, budgets)
    largest.sort(key=lambda child: -Architecture(run.space.dimensions, child).num_parameters)
    found = largest[: NUM_HAND_DESIGNS - 1]
    others = {operator for position in run.space.choices for operator in position} - set(attentions)
    if mixing := [operator for operator in others if KINDS[operator.kind].mixes_tokens]:
        cheapest = min(mixing, key=lambda operator: (run.cost_of((operator,)).values, operator))
        chains = [(cheapest,) * depth for depth in range(1, len(run.space.choices) + 1)]
        found += dict.fromkeys([*_deepest(chains[:2], run, budgets), *_deepest(chains, run, budgets)])
    return found


def _deepest(chains: Iterable[Child], run: Run, budgets: Budgets) -> list[Child]:
    """The last of the chains that fits, where one does."""
    return [chain for chain in chains if budgets.fits(run.cost_of(chain))][-1:]


def most_different(
    candidates: Sequence[Evaluation], chosen: Sequence[Evaluation], number: int
) -> list[Evaluation]:
    """Return `number` candidates, each the one farthest from all that are chosen before it."""
    known, left = [each.child for each in chosen], list(candidates)
    found: list[Evaluation] = []
    while left and len(found) < number:
        farthest = max(left, key=lambda each: min((_unlike(each.child, other) for other in known), default=0))
        left.remove(farthest)
        known.append(farthest.child)
        found.append(farthest)
    return found


def _unlike(first: Child, second: Child) -> int:
    """How many operators would have to be added to or taken from one child to have those of the other."""
    every = set(first) | set(second)
    return sum(abs(first.count(operator) - second.count(operator)) for operator in every)


def _by_score(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    return sorted(evaluations, key=lambda each: (each.score, each.cost.values, each.child))


def _measured(run: Run, entrants: Sequence[tuple[Entrant, Evaluation | None]]) -> list[Proposal]:
    costs = [run.cost_of(entrant.child) for entrant, _ in entrants]
    whole = measured_costs(run, [entrant.child for entrant, _ in entrants], costs)
    return [
        Proposal(
            entrant,
            entrant.child if evaluation is None else evaluation.placed,
            None if evaluation is None else evaluation.score,
            predicted,
            measured,
        )
        for (entrant, evaluation), predicted, measured in zip(entrants, costs, whole, strict=True)
    ]


def entrants_of(rows: Sequence[dict[str, Any]]) -> list[Entrant]:
    """Return who races of the rows in search.json: those that fit clearly, or else those that fit at all."""
    fitting = [row for row in rows if row["fits"]]
    clear = [row for row in fitting if row["clear"]] or fitting
    return [Entrant(canonical(_operators(row)), row["origin"]) for row in clear]


def _operators(row: dict[str, Any]) -> Child:
    return tuple(Operator.parse(name) for name in row["placed"])
