"""Small search spaces, their prices and scores, which tests of searchers and of their parts share."""

from __future__ import annotations

import itertools

import numpy as np

from bertcompress.latency.chains import terms_of
from bertcompress.search import Cost
from bertcompress.space import Architecture, Child, Dimensions, Operator, SearchSpace, canonical

DIMENSIONS = Dimensions(
    vocab_size=11, hidden_size=16, embedding_size=16, head_size=8, num_labels=2, pooling="cls"
)


NAMES = ["mha1", "mha2", "ffn48", "conv3", "identity"]


LATENCY_MS = {"mha": 2.0, "ffn": 1.5, "conv": 0.25, "identity": 0.0}


def uniform(num_positions: int, names: list[str] = NAMES) -> SearchSpace:
    return SearchSpace.uniform(DIMENSIONS, num_positions, names)


def uneven(*positions: str) -> SearchSpace:
    """A space with its own choice at each position, in words: "mha1 conv3"."""
    return SearchSpace(
        DIMENSIONS, tuple(tuple(Operator.parse(word) for word in position.split()) for position in positions)
    )


def price(space: SearchSpace):
    def cost_of(child: Child) -> Cost:
        latency_ms = 1.0 + sum(LATENCY_MS[operator.kind] for operator in child)
        return Cost.of(num_parameters=space.architecture(child).num_parameters, latency_ms=latency_ms)

    return cost_of


def price_by_token(space: SearchSpace):
    """As `price`, but what the head reads of one token only costs a quarter."""

    def cost_of(child: Child) -> Cost:
        terms = terms_of(canonical(child), space.dimensions.pooling)
        latency_ms = 1.0 + sum(LATENCY_MS[t.operator.kind] / (4 if t.first_token else 1) for t in terms)
        return Cost.of(num_parameters=space.architecture(child).num_parameters, latency_ms=latency_ms)

    return cost_of


def price_by_cache(space: SearchSpace):
    """As `price`, but what operators have beyond 2,000 parameters costs a millisecond a thousand."""
    outside = Architecture(space.dimensions, ()).num_parameters

    def cost_of(child: Child) -> Cost:
        (num_parameters, latency_ms) = price(space)(child).values
        beyond = latency_ms + (num_parameters - outside - 2000) / 1000
        return Cost.of(num_parameters=num_parameters, latency_ms=(latency_ms, beyond))

    return cost_of


def landscape(space: SearchSpace, seed: int, interaction: float = 0.2):
    """Additive in who stands where, with an interaction of neighbours, the same for all placements."""
    generator = np.random.default_rng(seed)
    operators = sorted({operator for choice in space.choices for operator in choice})
    additive = {
        (position, operator): generator.uniform(0, 1) * (operator.kind != "identity")
        for position in range(space.num_positions)
        for operator in operators
    }
    pairs = {pair: generator.normal(0, interaction) for pair in itertools.product(operators, operators)}

    def score(child: Child) -> float:
        network = canonical(child)
        alone = sum(additive[place] for place in enumerate(network))
        return 1 - (alone + sum(pairs[pair] for pair in itertools.pairwise(network))) / space.num_positions

    return score
