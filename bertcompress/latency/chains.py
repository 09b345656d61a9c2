"""Which whole chains to export and time: some to tell every operator's cost by, others to tell the error."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertcompress.space import (
    IDENTITY,
    Architecture,
    Child,
    Operator,
    Pooling,
    SearchSpace,
    canonical,
    first_token_from,
)

# Passes over the design, and chains tried in the place of each of its chains in a pass.
NUM_PASSES = 3
NUM_TRIED = 24
# Chains that stand for all those whose latency will be asked for.
NUM_REFERENCES = 200
MOST_DRAWS = 1000
MOST_DRAWS_OF_LENGTH = 30
# So many chains a coefficient at least, or the fit has too little to average over.
CHAINS_PER_COEFFICIENT = 2


@dataclass(frozen=True, order=True)
class Term:
    """What a table gives a price to: an operator, of all tokens or of the first one only."""

    operator: Operator
    first_token: bool = False

    @property
    def name(self) -> str:
        """The operator's word, and whether it is for one token."""
        return f"{self.operator.name}{' (first token)' if self.first_token else ''}"

    def includes(self, other: Term) -> bool:
        """Whether the other is this one in a smaller size, or itself."""
        ours, theirs = self.operator, other.operator
        alike = (self.first_token, ours.kind) == (other.first_token, theirs.kind)
        return alike and theirs.size <= ours.size


def terms_of(chain: Sequence[Operator], pooling: Pooling) -> list[Term]:
    """The terms that a canonical chain adds up, one an operator."""
    start = first_token_from(chain, pooling)
    return [Term(operator, index >= start) for index, operator in enumerate(chain)]


def space_operators(space: SearchSpace) -> list[Operator]:
    """The different operators of the space in order, without identity, which costs nothing."""
    return sorted({operator for operators in space.choices for operator in canonical(operators)})


def space_terms(space: SearchSpace) -> list[Term]:
    """The terms that chains of the space's operators are made of, in order."""
    read = (False, True) if space.dimensions.pooling == "cls" else (False,)
    return sorted(Term(operator, first_token) for operator in space_operators(space) for first_token in read)


def counts_matrix(chains: Sequence[Child], terms: Sequence[Term], pooling: Pooling) -> np.ndarray:
    """Counts of each term in each chain, after a column of ones: (chains, 1 + terms)."""
    counts = [Counter(terms_of(chain, pooling)) for chain in chains]
    return np.array([[1, *(count[term] for term in terms)] for count in counts], dtype=np.float64)


def fitting_chains(space: SearchSpace, num_chains: int, rng: random.Random) -> list[Child]:
    """Chains of lengths from 1 to the space's number of positions, from which the coefficients are best told.

    Every second chain mixes all operators, as networks do. The others make the design I-optimal by exchange
    (Fedorov 1972; Meyer & Nachtsheim 1995): they give way to chains of their length while that lowers the
    mean variance of the relative prediction; alone they would all repeat a single operator, which no network
    does. There are more than `num_chains` when the space has more terms than those could tell apart well. Any
    order of operators may occur, also one that the space does not hold.
    """
    operators = space_operators(space)
    num_chains = max(num_chains, CHAINS_PER_COEFFICIENT * (1 + len(space_terms(space))))
    # Chains of one length cannot tell what all chains have in common from what an operator costs.
    longest = max(2, space.num_positions)
    lengths = [round(1 + i * (longest - 1) / (num_chains - 1)) for i in range(num_chains)]
    if not operators:
        return [()] * num_chains
    asked = [_random_chain(operators, rng.randint(1, longest), rng) for _ in range(NUM_REFERENCES)]
    design = _Design(space, asked)
    mixed = [tuple(rng.choice(operators) for _ in range(length)) for length in lengths]
    return design.exchange(mixed, range(0, num_chains, 2), rng)


def heldout_chains(
    space: SearchSpace, number: int, rng: random.Random, known: Sequence[Child]
) -> list[Child]:
    """Up to `number` different children of the space, none in `known`, of all lengths in equal parts.

    Children drawn uniformly are of nearly one length and cost, while budgets make a search visit all of them.
    """
    shortest = sum(1 for operators in space.choices if not _may_be_empty(operators))
    longest = sum(1 for operators in space.choices if canonical(operators))
    lengths = range(max(1, shortest), longest + 1)
    found: dict[Child, None] = {}
    # The middle of each of `number` equal parts of the range.
    for length in [lengths[int((i + 0.5) / number * len(lengths))] for i in range(number if lengths else 0)]:
        drawn = (_child_of_length(space, length, rng) for _ in range(MOST_DRAWS_OF_LENGTH))
        if (child := next((one for one in drawn if one not in known and one not in found), None)) is not None:
            found[child] = None
    # A length may have too few children.
    for _ in range(MOST_DRAWS):
        if len(found) == number:
            break
        child = canonical(space.sample(rng))
        if child and child not in known:
            found[child] = None
    return list(found)


def chain_architecture(space: SearchSpace, chain: Child, most_words: int) -> Architecture:
    """The chain as a network of the space's sizes with at most `most_words` words.

    A row of the embedding table costs the same to look up in a short table, which is quicker to export.
    """
    sizes = {**vars(space.dimensions), "vocab_size": min(space.dimensions.vocab_size, most_words)}
    return Architecture(type(space.dimensions)(**sizes), chain)


class _Design:
    """Which chains tell the terms' prices best, for the predictions of the chains `asked`."""

    def __init__(self, space: SearchSpace, asked: Sequence[Child]) -> None:
        self._operators, self._terms = space_operators(space), space_terms(space)
        self._pooling = space.dimensions.pooling
        rows = self._relative_rows(asked)
        self._moments = rows.T @ rows / len(rows)

    def exchange(self, chains: Sequence[Child], exchanged: Sequence[int], rng: random.Random) -> list[Child]:
        """The chains after those `exchanged` gave way to others of their length that predict better."""
        chains = list(chains)
        rows = self._relative_rows(chains)
        best = self._mean_variance(rows)
        for _ in range(NUM_PASSES):
            for index in exchanged:
                others = [_random_chain(self._operators, len(chains[index]), rng) for _ in range(NUM_TRIED)]
                for other, row in zip(others, self._relative_rows(others), strict=True):
                    changed = rows.copy()
                    changed[index] = row
                    if (variance := self._mean_variance(changed)) < best:
                        best, rows, chains[index] = variance, changed, other
        return chains

    def _relative_rows(self, chains: Sequence[Child]) -> np.ndarray:
        """Counts over the chain's length and intercept: the clock's error grows with what it measures."""
        counts = counts_matrix(chains, self._terms, self._pooling)
        return counts / counts.sum(axis=1, keepdims=True)

    def _mean_variance(self, rows: np.ndarray) -> float:
        """Variance of a prediction in units of the clock's, over the chains that were asked for."""
        information = rows.T @ rows + 1e-9 * np.eye(rows.shape[1])
        return float(np.trace(np.linalg.solve(information, self._moments)))


def _random_chain(operators: Sequence[Operator], length: int, rng: random.Random) -> Child:
    # Few different operators a chain: their counts then vary more from chain to chain.
    chosen = rng.sample(operators, rng.randint(1, len(operators)))
    return tuple(rng.choice(chosen) for _ in range(length))


def _may_be_empty(operators: Sequence[Operator]) -> bool:
    return IDENTITY in operators


def _child_of_length(space: SearchSpace, length: int, rng: random.Random) -> Child:
    """A child of the space with so many operators, at random positions."""
    forced = [i for i, operators in enumerate(space.choices) if not _may_be_empty(operators)]
    free = [i for i, operators in enumerate(space.choices) if i not in forced and canonical(operators)]
    taken = sorted([*forced, *rng.sample(free, length - len(forced))])
    return tuple(rng.choice(canonical(space.choices[position])) for position in taken)
