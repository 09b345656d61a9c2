"""Progressive search: chains in order of growing length, a surrogate ranks their expansions (PNAS).

Liu et al. 2018, arXiv 1712.00559. A prefix is scored as the child that goes on with identities. Where a
position has no identity, the operator with the fewest parameters stands in for it; and where that child does
not fit the budgets (a lower bound, say), the later positions are those of a child that does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from bertcompress.search.budget import SampleChild
from bertcompress.search.driver import Evaluation
from bertcompress.search.surrogates import Ensemble
from bertcompress.space import IDENTITY, Child, SearchSpace, canonical

NUM_ENDINGS = 5
FEWEST_TO_FIT = 4


class Progressive:
    """Keeps the `beam_size` best prefixes, expands each by a position, scores the `beam_size` most promising.

    When the chains have full length, the children that differ from one of the best in one position are ranked
    in the same way, beside as many draws of `sample`. `fits` says whether a child is within the budgets.
    """

    def __init__(
        self, space: SearchSpace, sample: SampleChild, fits: Callable[[Child], bool], beam_size: int = 24
    ) -> None:
        if beam_size < 1:
            raise ValueError(f"beam of {beam_size}: use 1 or more")
        self._space, self._sample, self._fits, self._beam_size = space, sample, fits, beam_size
        smallest = space.smallest()
        self._rest = tuple(
            IDENTITY if IDENTITY in operators else smallest[position]
            for position, operators in enumerate(space.choices)
        )
        self._length = 0
        # Prefixes of the current length, each with the child it is scored as.
        self._prefixes: dict[Child, Child] = {(): self._rest}
        self._scored: dict[Child, Evaluation] = {}
        self._queue: list[Child] = []

    def ask(self, n: int, rng: random.Random) -> list[Child]:
        """The next of the ranked children; longer ones once those of this length are scored."""
        while not self._queue and self._length < self._space.num_positions:
            self._queue = self._expand(rng)
        if not self._queue:
            self._queue = self._vary(rng)
        asked, self._queue = self._queue[:n], self._queue[n:]
        return asked or [self._sample(rng) for _ in range(n)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Remembers the scores, for the beam and for the surrogate."""
        self._scored |= {e.child: e for e in evaluations if e.overshoot == 0}

    def _expand(self, rng: random.Random) -> list[Child]:
        """Go on to the next length: the children to score, the most promising first."""
        beam = self._best_prefixes() if self._length else [()]
        operators = self._space.choices[self._length]
        self._length += 1
        longer: dict[Child, Child] = {}
        for prefix in beam:
            for operator in operators:
                # Two placements of one network have the same future: one of them is enough.
                longer.setdefault(canonical((*prefix, operator)), (*prefix, operator))
        ended = {prefix: self._ended(prefix, rng) for prefix in longer.values()}
        self._prefixes = {prefix: child for prefix, child in ended.items() if child is not None}
        return self._most_promising(list(self._prefixes.values()), rng)

    def _best_prefixes(self) -> list[Child]:
        scored = [
            (self._scored[canonical(child)].score, prefix)
            for prefix, child in self._prefixes.items()
            if canonical(child) in self._scored
        ]
        return [prefix for _, prefix in sorted(scored)[: self._beam_size]]

    def _ended(self, prefix: Child, rng: random.Random) -> Child | None:
        """The child that a prefix is scored as; None when none is found that fits."""
        child = prefix + self._rest[len(prefix) :]
        for _ in range(NUM_ENDINGS):
            if self._fits(child):
                return child
            child = prefix + self._sample(rng)[len(prefix) :]
        return child if self._fits(child) else None

    def _vary(self, rng: random.Random) -> list[Child]:
        best = sorted(self._scored.values(), key=lambda e: (e.score, e.child))[: self._beam_size]
        candidates = [
            (*e.placed[:position], operator, *e.placed[position + 1 :])
            for e in best
            for position, operators in enumerate(self._space.choices)
            for operator in operators
        ]
        candidates += [self._sample(rng) for _ in range(self._beam_size)]
        return self._most_promising([child for child in candidates if self._fits(child)], rng)

    def _most_promising(self, candidates: Sequence[Child], rng: random.Random) -> list[Child]:
        """The best of the candidates that are not scored yet, by what the surrogate expects of them."""
        unscored: dict[Child, Child] = {}
        for child in candidates:
            if canonical(child) not in self._scored:
                unscored.setdefault(canonical(child), child)
        children = list(unscored.values())
        rng.shuffle(children)
        if len(self._scored) < FEWEST_TO_FIT or len(children) < 2:
            return children[: self._beam_size]
        known = list(self._scored.values())
        ensemble = Ensemble(
            self._space, [e.placed for e in known], [e.score for e in known], seed=rng.getrandbits(32)
        )
        expected = ensemble.predict(children)
        order = sorted(range(len(children)), key=lambda index: float(expected[index]))
        return [children[index] for index in order[: self._beam_size]]
