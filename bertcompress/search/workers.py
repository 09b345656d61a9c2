"""Scoring spread over workers: each goes through its own stretch of the children, and none is lost with one.

Children are sorted by prefix and cut into as many stretches as there are workers, so that a worker meets the
prefixes it has kept; who is done first takes over from the end of the longest stretch. Who scores a child
does not change its score, so results do not depend on the number of workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import Protocol, TypeAlias

from bertcompress.errors import SearchError
from bertcompress.search.driver import ScoreMany
from bertcompress.space import Child, placed_steps

# Called once in every worker: loads what is needed, and gives the score of a placed child.
MakeScore: TypeAlias = Callable[[], Callable[[Child], float]]

MOST_ROUNDS = 3


class WorkerLostError(Exception):
    """The worker is gone; whatever it was scoring has to be scored by another."""


class Worker(Protocol):
    """Scores one child at a time, elsewhere."""

    def submit(self, child: Child) -> Future[float]:
        """The score to come; `WorkerLostError`, at once or in the future, when the worker is gone."""
        ...

    def close(self) -> None:
        """End the worker."""
        ...


def translated(inner: Future[float], lost: type[Exception]) -> Future[float]:
    """The same future, where an exception of type `lost` has become `WorkerLostError`."""
    outer: Future[float] = Future()

    def pass_on(done: Future[float]) -> None:
        if done.cancelled():
            outer.cancel()
            return
        error = done.exception()
        if error is None:
            outer.set_result(done.result())
        elif isinstance(error, lost):
            outer.set_exception(WorkerLostError())
        else:
            outer.set_exception(error)

    inner.add_done_callback(pass_on)
    return outer


@contextmanager
def worker_pool(start: Callable[[], Worker | None], num_workers: int) -> Iterator[ScoreMany]:
    """Scores through `num_workers` workers; those that were lost are started anew before the next children.

    `start` gives None where there is no room for another worker now.
    Raises, while scoring:
        SearchError: no worker can be started, or all were lost again and again.
    """
    workers: list[Worker] = []

    def score_many(children: Sequence[Child]) -> Iterator[tuple[Child, float]]:
        left = dict.fromkeys(children)
        for _ in range(MOST_ROUNDS):
            missing = num_workers - len(workers)
            workers.extend(worker for worker in (start() for _ in range(missing)) if worker is not None)
            # Ends early only when every worker was lost.
            for child, score in _spread(list(left), workers):
                del left[child]
                yield child, score
            if not left:
                return
        named = "-".join(operator.name for operator in next(iter(left)))
        raise SearchError(
            f"search: {len(left)} children were not scored, {named} among them: every worker was lost, "
            f"{MOST_ROUNDS} times over; lower search.num_workers, search.cache_mib or "
            "search.max_validation_rows if memory ran out, or set search.evaluator to inline"
        )

    try:
        yield score_many
    finally:
        for worker in workers:
            worker.close()


def _spread(children: Sequence[Child], workers: list[Worker]) -> Iterator[tuple[Child, float]]:
    """Scores children until all are scored or no worker is left; lost workers are taken out of `workers`."""
    ordered = sorted(children, key=placed_steps)
    cuts = [len(ordered) * number // max(1, len(workers)) for number in range(len(workers) + 1)]
    stretches = {worker: deque(ordered[a:b]) for worker, a, b in zip(workers, cuts, cuts[1:], strict=False)}
    running: dict[Future[float], tuple[Worker, Child]] = {}
    while workers and (running or any(stretches.values())):
        busy = {id(worker) for worker, _ in running.values()}
        for worker in [worker for worker in workers if id(worker) not in busy]:
            longest = max(stretches.values(), key=len)
            if stretches[worker] or longest:
                child = stretches[worker].popleft() if stretches[worker] else longest.pop()
                running[_submitted(worker, child)] = worker, child
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            worker, child = running.pop(future)
            try:
                score = future.result()
            except WorkerLostError:
                workers.remove(worker)
                worker.close()
                # Its stretch stays, for the others to take from.
                stretches[worker].appendleft(child)
            else:
                yield child, score


def _submitted(worker: Worker, child: Child) -> Future[float]:
    """The score to come; a worker that is found lost at once is as one that is lost later."""
    try:
        return worker.submit(child)
    except WorkerLostError as error:
        future: Future[float] = Future()
        future.set_exception(error)
        return future
