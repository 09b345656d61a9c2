"""Throughput under concurrent callers: threads that ask one session at the same time, as a server's do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertcompress.measure.clock import LatencySummary, summarize, warm_up
from bertcompress.measure.session import Conditions, timed_call


@dataclass(frozen=True)
class Throughput:
    """Rows a second that `num_callers` threads get out of one session, and what a call took meanwhile."""

    num_callers: int
    rows_per_s: float
    seconds: float
    latency: LatencySummary

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, latency under load among them."""
        return {**asdict(self), "latency": self.latency.to_dict()}


def measure_throughput(
    path: Path | str, conditions: Conditions, *, vocab_size: int, num_callers: int, seconds: float = 2.0
) -> Throughput:
    """Let `num_callers` threads run the file for `seconds` through one session.

    The session has the conditions' number of threads; every caller brings its own besides, so the CPUs are
    not pinned.
    """
    call = timed_call(path, conditions, vocab_size=vocab_size)
    warm_up(call)
    timings, elapsed = call_concurrently(call, num_callers, seconds)
    flat = [timing for caller in timings for timing in caller]
    return Throughput(
        num_callers, len(flat) * conditions.batch_size / elapsed, elapsed, summarize(flat, (50, 95, 99))
    )


def call_concurrently(
    call: Callable[[], object], num_callers: int, seconds: float
) -> tuple[list[list[float]], float]:
    """Seconds of every call by caller, and the seconds from the common start to the last answer.

    A caller that has begun before `seconds` are over finishes its call; each makes at least one.
    """
    ready = threading.Barrier(num_callers + 1)
    timings: list[list[float]] = [[] for _ in range(num_callers)]
    errors: list[BaseException] = []

    def ask(own: list[float]) -> None:
        ready.wait()
        end = time.perf_counter() + seconds
        try:
            while not own or time.perf_counter() < end:
                start = time.perf_counter()
                call()
                own.append(time.perf_counter() - start)
        except Exception as error:  # noqa: BLE001  # raised again by the thread that asked for the measurement
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(own,)) for own in timings]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    if errors:
        raise errors[0]
    return timings, elapsed
