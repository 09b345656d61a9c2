"""The small spaces that tests of latencies price."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from bertcompress.space import Dimensions, Pooling, SearchSpace

NAMES = ["mha1", "mha2", "ffn16", "ffn32", "conv3", "conv5", "identity"]
DIMENSIONS = Dimensions(
    vocab_size=5000, hidden_size=16, embedding_size=16, head_size=8, num_labels=2, pooling="mean"
)


names_of_a_space = st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True)


def make_space(
    num_positions: int = 4, names: list[str] | None = None, pooling: Pooling = "mean"
) -> SearchSpace:
    return SearchSpace.uniform(replace(DIMENSIONS, pooling=pooling), num_positions, names or NAMES)
