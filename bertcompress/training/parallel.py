"""Independent jobs, in this process or by the workers of Ray Core (Moritz et al. 2018, arXiv 1712.05889).

    for job, result in run_jobs(train, jobs, workers=2):
        ...  # in the order in which jobs end

With one worker the jobs run in this process, one after the other. With more, Ray runs them: on the cluster
that the environment variable RAY_ADDRESS names, else on a Ray of this machine that starts and ends with the
jobs. The loss of a worker costs no finished result, and its job is done again. `open_workers` keeps the
workers, and what they have loaded, over several calls.

Loads no torch, and Ray only for several workers.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from rich.text import Text

from bertcompress.errors import BertCompressError, JobError, LaunchError, MissingExtraError

Job = TypeVar("Job")
Result = TypeVar("Result")
# Runs jobs and gives each back with its result as it ends.
RunMany: TypeAlias = Callable[[Iterable[Job]], Iterator[tuple[Job, Result]]]

# A job whose worker was lost so many times is tried no more.
MOST_LOSSES = 3
OBJECT_STORE_BYTES = 512 * 2**20
# Read by the numerical libraries when a process starts.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int,
    threads: int = 1,
    name_of: Callable[[Job], str] = str,
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with `function(job)` as it ends, in any order.

    `function`, jobs and results are pickled for the workers. A function keeps its state in a worker from job
    to job. The next job is taken from `jobs` when a worker is free. `threads` limits the numerical libraries
    of a worker; with `workers=1` this process runs all jobs, and its threads stay as they are. A job whose
    worker is lost is done again. After a job that fails no other begins; those under way are yielded first.

    Raises:
        JobError: a job failed, or lost its worker three times; the message names it by `name_of`.
        LaunchError: the Ray cluster cannot be reached, or none of its machines has `threads` CPUs.
        MissingExtraError: there is more than one worker, and Ray is not installed.
    """
    with open_workers(function, workers=workers, threads=threads, name_of=name_of) as run:
        yield from run(jobs)


@contextmanager
def open_workers(
    function: Callable[[Job], Result],
    *,
    workers: int,
    threads: int = 1,
    name_of: Callable[[Job], str] = str,
) -> Iterator[RunMany[Job, Result]]:
    """Open what `run_jobs` runs on; the context gives a function that runs jobs, and may be called again."""
    if workers == 1:
        yield lambda jobs: _run_here(function, jobs, name_of)
        return
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            f'{workers} workers need Ray: pip install "bertcompress[ray]", or use one worker'
        ) from error
    started_here = not ray.is_initialized()
    if started_here:
        _connect(ray, workers * threads)
    try:
        _require_cpus(ray, threads)
        # Ray sends the function to each worker once, and runs it there again and again.
        shipped = ray.put(function)
        task = ray.remote(_run_shipped).options(
            num_cpus=threads, max_retries=MOST_LOSSES - 1, runtime_env={"env_vars": _environment(threads)}
        )
        yield lambda jobs: _run_on_ray(lambda job: task.remote([shipped], job), jobs, workers, name_of)
    finally:
        if started_here:
            ray.shutdown()


def _run_here(
    function: Callable[[Job], Result], jobs: Iterable[Job], name_of: Callable[[Job], str]
) -> Iterator[tuple[Job, Result]]:
    for job in jobs:
        try:
            result = function(job)
        except Exception as error:
            raise _failed(name_of(job), error, traceback.format_exc()) from error
        yield job, result


def _run_on_ray(
    submit: Callable[[Job], Any], jobs: Iterable[Job], workers: int, name_of: Callable[[Job], str]
) -> Iterator[tuple[Job, Any]]:
    import ray

    waiting = iter(jobs)
    under_way = {submit(job): job for job in islice(waiting, workers)}
    failure: JobError | None = None
    try:
        while under_way:
            (ended,), _ = ray.wait(list(under_way), num_returns=1)
            job = under_way.pop(ended)
            try:
                result = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                failure = failure or _failed(name_of(job), error.cause, str(error))
            except ray.exceptions.RayError as error:
                failure = failure or _lost(name_of(job), error)
            else:
                yield job, result
            if failure is None:
                under_way |= {submit(job): job for job in islice(waiting, 1)}
        if failure is not None:
            raise failure
    finally:
        # Left over when the caller stops early.
        for pending in under_way:
            ray.cancel(pending, force=True)


def _failed(name: str, cause: BaseException, trace: str) -> JobError:
    # An error that the user can put right says all; of any other the place is needed. Ray colours its traces.
    told = str(cause) if isinstance(cause, BertCompressError) else f"failed\n{Text.from_ansi(trace).plain}"
    error = JobError(f"{name}: {told}")
    error.__cause__ = cause
    return error


def _lost(name: str, cause: Exception) -> JobError:
    error = JobError(
        f"{name}: its worker was lost {MOST_LOSSES} times; use fewer workers if memory ran out. "
        f"Ray says: {cause}"
    )
    error.__cause__ = cause
    return error


def _connect(ray: Any, num_cpus: int) -> None:
    """Join the cluster of RAY_ADDRESS, or start a Ray on this machine that has `num_cpus`."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise LaunchError(
                f"RAY_ADDRESS: no Ray cluster answers at {address} ({error}); unset it to use this machine"
            ) from error
        return
    # Ray's own statistics for its makers are not ours to send.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        # Ray's default, 15, would make the work wait for whatever else runs.
        _system_config={"worker_niceness": 0},
        **quiet,
    )


def _require_cpus(ray: Any, threads: int) -> None:
    """Refuse jobs that no machine of the cluster could ever begin: Ray would wait for one without a word."""
    largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if largest < threads:
        raise LaunchError(
            f"Ray: a job needs {threads} CPUs, but no machine of the cluster has more than {largest:g}; "
            "use fewer threads a worker, or a larger machine"
        )


def _environment(threads: int) -> dict[str, str]:
    """The environment of a worker's process: its threads, and the machine's GPUs, which Ray would hide."""
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**limits, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def _run_shipped(shipped: list[Any], job: Any) -> Any:
    """In a worker: run the job by the function that was sent there."""
    # In a list: Ray would unpack a plain argument anew for each job.
    return _unpacked(shipped[0])(job)


@lru_cache(maxsize=1)
def _unpacked(reference: Any) -> Callable[[Any], Any]:
    import ray

    function: Callable[[Any], Any] = ray.get(reference)
    return function
