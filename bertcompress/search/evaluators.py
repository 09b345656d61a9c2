"""Who scores the children that a searcher proposes: this process, several here, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager

from bertcompress.search.driver import ScoreMany, one_by_one
from bertcompress.search.ray_workers import on_ray
from bertcompress.search.workers import MakeScore, WorkerLostError, translated, worker_pool
from bertcompress.space import Child


@contextmanager
def inline(make_score: MakeScore, num_workers: int) -> Iterator[ScoreMany]:
    """Scores in this process; `num_workers` does not matter."""
    yield one_by_one(make_score())


def on_processes(make_score: MakeScore, num_workers: int) -> AbstractContextManager[ScoreMany]:
    """Scores in `num_workers` processes on this machine; `make_score` is pickled to each.

    Processes are spawned, so the program's main module must be importable without side effects.
    """
    return worker_pool(lambda: _ProcessWorker(make_score), num_workers)


# Each opens a context in which children can be scored; its workers end with the context.
EVALUATORS: dict[str, Callable[[MakeScore, int], AbstractContextManager[ScoreMany]]] = {
    "inline": inline,
    "processes": on_processes,
    "ray": on_ray,
}

# In a worker process: what was sent there, and what came of it at the first child.
_make_score: MakeScore | None = None
_score: Callable[[Child], float] | None = None


def _receive(make_score: MakeScore) -> None:
    global _make_score
    _make_score = make_score


def _score_here(child: Child) -> float:
    # Not loaded in the initializer: an error there would look like a lost process.
    global _score
    if _score is None:
        assert _make_score is not None
        _score = _make_score()
    return _score(child)


class _ProcessWorker:
    """One spawned process; a pool of its own, so that its death breaks nothing else."""

    def __init__(self, make_score: MakeScore) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_receive, initargs=(make_score,))

    def submit(self, child: Child) -> Future[float]:
        try:
            inner = self._pool.submit(_score_here, child)
        except BrokenProcessPool as error:
            raise WorkerLostError from error
        return translated(inner, BrokenProcessPool)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
