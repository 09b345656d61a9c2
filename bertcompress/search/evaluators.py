"""Who scores the children that a searcher proposes: this process, or the workers of Ray.

Children are sorted by prefix and cut into stretches, so that whoever scores a stretch meets the prefixes that
it has kept. Who scores a child does not change its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeAlias

from bertcompress.search.driver import ScoreMany, one_by_one
from bertcompress.space import Child, child_name, placed_steps
from bertcompress.training.parallel import open_workers

# Called once in every worker: loads what is needed, and gives the score of a placed child.
MakeScore: TypeAlias = Callable[[], Callable[[Child], float]]
Stretch: TypeAlias = tuple[Child, ...]

# More than one, so that a worker that is done early takes over from the others.
STRETCHES_A_WORKER = 2


@contextmanager
def open_scoring(make_score: MakeScore, num_workers: int) -> Iterator[ScoreMany]:
    """Score in this process with one worker, else by `num_workers` workers of Ray, each with one thread.

    `make_score` is pickled for the workers. A stretch whose worker is lost is scored again.

    Raises, while scoring by Ray:
        JobError: a child cannot be scored; the message names it.
    """
    if num_workers == 1:
        yield one_by_one(make_score())
        return
    scorer = _Scorer(make_score)
    with open_workers(scorer, workers=num_workers, name_of=_name) as score_stretches:

        def score_many(children: Sequence[Child]) -> Iterator[tuple[Child, float]]:
            stretches = cut_stretches(children, STRETCHES_A_WORKER * num_workers)
            for stretch, scores in score_stretches(stretches):
                yield from zip(stretch, scores, strict=True)

        yield score_many


def cut_stretches(children: Sequence[Child], num_stretches: int) -> list[Stretch]:
    """Cut the children, sorted by their steps, into up to `num_stretches` stretches of about one size."""
    ordered = sorted(children, key=placed_steps)
    cuts = [len(ordered) * number // num_stretches for number in range(num_stretches + 1)]
    return [tuple(ordered[start:end]) for start, end in pairwise(cuts) if start < end]


def _name(stretch: Stretch) -> str:
    others = f" or one of {len(stretch) - 1} more" if len(stretch) > 1 else ""
    return f"search: scoring {child_name(stretch[0])}{others}"


class _Scorer:
    """Scores stretches; what it has loaded stays in its worker for the next ones."""

    def __init__(self, make_score: MakeScore) -> None:
        self._make_score = make_score
        self._score: Callable[[Child], float] | None = None

    def __call__(self, stretch: Stretch) -> list[float]:
        if self._score is None:
            self._score = self._make_score()
        return [self._score(child) for child in stretch]
