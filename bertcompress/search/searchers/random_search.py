"""Random search: the baseline that every other searcher has to beat (Nunes & Pappa 2020)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bertcompress.search.budget import SampleChild
from bertcompress.search.driver import Evaluation
from bertcompress.space import Child


class RandomSearch:
    """Proposes what `sample` draws, and learns nothing."""

    def __init__(self, sample: SampleChild) -> None:
        self._sample = sample

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """`n` independent draws, repetitions among them."""
        return [self._sample(rng) for _ in range(n)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Nothing: the next draws do not depend on scores."""
