"""Scoring on a Ray cluster (`pip install "bertcompress[ray]"`): one actor a worker, one CPU each.

What is needed to score goes through Ray's object store, so the machines share no disk. They need the same
version of this package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from bertcompress.errors import MissingExtraError, SearchError
from bertcompress.search.driver import ScoreMany
from bertcompress.search.workers import MakeScore, translated, worker_pool
from bertcompress.space import Child

FREE_CPU_TIMEOUT_S = 5
START_TIMEOUT_S = 60


@contextmanager
def on_ray(make_score: MakeScore, num_workers: int) -> Iterator[ScoreMany]:
    """Scores in `num_workers` actors of the running Ray cluster, or of a local one that is started for it.

    An actor that is lost is replaced where a CPU is free; until then the others score its children.

    Raises:
        MissingExtraError: Ray is not installed.
        SearchError: an actor does not start, no CPU is free, or all actors are lost again and again.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            'search.evaluator ray needs Ray: pip install "bertcompress[ray]", or set it to processes'
        ) from error
    started_here = not ray.is_initialized()
    if started_here:
        # Joins the cluster that RAY_ADDRESS names or that runs on this machine, else starts a local one.
        ray.init(log_to_driver=False)
    try:
        shipped = ray.put(make_score)
        with worker_pool(lambda: _start(ray, shipped), num_workers) as score_many:
            yield score_many
    finally:
        if started_here:
            ray.shutdown()


class _Scorer:
    """Lives in the actor's process."""

    def __init__(self, shipped: list[Any]) -> None:
        self._shipped = shipped
        self._score: Callable[[Child], float] | None = None

    def ready(self) -> bool:
        return True

    def score(self, child: Child) -> float:
        if self._score is None:
            import ray

            # Not an argument of the constructor by itself: an error there would look like a lost actor.
            self._score = ray.get(self._shipped[0])()
        return self._score(child)


def _start(ray: Any, shipped: Any) -> _RayWorker | None:
    """A worker whose actor runs; None when the cluster has no CPU for it now."""
    # What was freed or taken a moment ago is reported a little later.
    deadline = time.monotonic() + FREE_CPU_TIMEOUT_S
    while ray.available_resources().get("CPU", 0) < 1:
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)
    actor = ray.remote(num_cpus=1)(_Scorer).remote([shipped])
    try:
        ray.get(actor.ready.remote(), timeout=START_TIMEOUT_S)
    except ray.exceptions.GetTimeoutError:
        ray.kill(actor)
        return None
    except ray.exceptions.RayActorError as error:
        raise SearchError(
            f"search: an actor of the Ray cluster does not start: {error}\n"
            "install this version of bertcompress on every machine of the cluster"
        ) from error
    return _RayWorker(ray, actor)


class _RayWorker:
    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def submit(self, child: Child) -> Future[float]:
        return translated(self._actor.score.remote(child).future(), self._ray.exceptions.RayActorError)

    def close(self) -> None:
        self._ray.kill(self._actor)
