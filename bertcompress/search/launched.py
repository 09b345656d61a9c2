"""Scoring by the processes that `accelerate launch` started: the first one searches, all of them score.

The others wait in `assist` for children. A process that is lost ends the launch; what was on record stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from bertcompress.search.driver import ScoreMany
from bertcompress.search.workers import MakeScore
from bertcompress.space import Child, placed_steps
from bertcompress.training.processes import hear, num_processes, tell


@contextmanager
def lead(make_score: MakeScore) -> Iterator[ScoreMany]:
    """In the first process: scores by all processes of the launch, a stretch of the sorted children each."""
    score = make_score()

    def score_many(children: Sequence[Child]) -> Iterator[tuple[Child, float]]:
        ordered = sorted(children, key=placed_steps)
        cuts = [len(ordered) * rank // num_processes() for rank in range(num_processes() + 1)]
        tell([ordered[start:end] for start, end in pairwise(cuts)])
        own = ordered[: cuts[1]]
        yield from ((child, score(child)) for child in own)
        yield from _gather([])

    yield score_many
    # Not after an error: the others may be in the middle of their stretches, and the launch ends them.
    tell(None)


def assist(make_score: MakeScore, rank: int) -> None:
    """In the process of that rank: score what `lead` hands out until its context ends."""
    score = make_score()
    while (stretches := hear()) is not None:
        _gather([(child, score(child)) for child in stretches[rank]])


def _gather(scored: list[tuple[Child, float]]) -> list[tuple[Child, float]]:
    from accelerate.utils import gather_object

    return gather_object(scored)
