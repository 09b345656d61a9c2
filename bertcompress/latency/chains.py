"""Which whole chains to export and time so that every operator's cost can be told from the others'."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bertcompress.space import Architecture, Child, Operator, SearchSpace, canonical

NUM_DESIGNS = 200
MOST_DRAWS = 1000
# So many chains more than coefficients, or the fit has nothing to average over.
SPARE_CHAINS = 4


def space_operators(space: SearchSpace) -> list[Operator]:
    """The different operators of the space in order, without identity, which costs nothing."""
    return sorted({operator for operators in space.choices for operator in canonical(operators)})


def counts_matrix(chains: Sequence[Child], operators: Sequence[Operator]) -> np.ndarray:
    """Counts of each operator in each chain, after a column of ones: (chains, 1 + operators)."""
    counts = [Counter(chain) for chain in chains]
    return np.array([[1, *(count[operator] for operator in operators)] for count in counts], dtype=np.float64)


def fitting_chains(space: SearchSpace, num_chains: int, rng: random.Random) -> list[Child]:
    """Chains of lengths from 0 to the space's number of positions, from which the coefficients are best told.

    Every third is a child of the space, as searches meet them. Of many random designs the one whose smallest
    singular value is largest. There are more than `num_chains` when the space has more operators than those
    could tell apart. Any order of operators may occur, also one that the space does not hold.
    """
    operators = space_operators(space)
    num_chains = max(num_chains, len(operators) + 1 + SPARE_CHAINS)
    num_children = num_chains // 3
    num_spread = num_chains - num_children
    lengths = [round(i * space.num_positions / (num_spread - 1)) for i in range(num_spread)]

    def design() -> list[Child]:
        children = [canonical(space.sample(rng)) for _ in range(num_children)]
        return [_random_chain(operators, length, rng) for length in lengths] + children

    designs = (design() for _ in range(NUM_DESIGNS))
    return max(designs, key=lambda chains: _smallest_singular_value(chains, operators))


def heldout_chains(
    space: SearchSpace, number: int, rng: random.Random, known: Sequence[Child]
) -> list[Child]:
    """Up to `number` different children as search would meet them, none of them in `known`."""
    found: dict[Child, None] = {}
    for _ in range(MOST_DRAWS):
        if len(found) == number:
            break
        child = canonical(space.sample(rng))
        if child not in known:
            found[child] = None
    return list(found)


def chain_architecture(space: SearchSpace, chain: Child, most_words: int) -> Architecture:
    """The chain as a network of the space's sizes with at most `most_words` words.

    A row of the embedding table costs the same to look up in a short table, which is quicker to export.
    """
    sizes = {**vars(space.dimensions), "vocab_size": min(space.dimensions.vocab_size, most_words)}
    return Architecture(type(space.dimensions)(**sizes), chain)


def _random_chain(operators: Sequence[Operator], length: int, rng: random.Random) -> Child:
    # Few different operators a chain: their counts then vary more from chain to chain.
    chosen = rng.sample(operators, min(len(operators), rng.randint(1, 3))) if operators else []
    return tuple(rng.choice(chosen) for _ in range(length)) if chosen else ()


def _smallest_singular_value(chains: Sequence[Child], operators: Sequence[Operator]) -> float:
    return float(np.linalg.svd(counts_matrix(chains, operators), compute_uv=False)[-1])
