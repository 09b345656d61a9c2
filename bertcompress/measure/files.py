"""Exported files against each other under stated conditions, on pinned threads whose teamwork is watched."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bertcompress.measure.clock import Clock, LatencySummary, summarize, time_interleaved
from bertcompress.measure.machine import pinned
from bertcompress.measure.session import Conditions, timed_call
from bertcompress.measure.teamwork import Teamwork


@dataclass(frozen=True)
class FileTimings:
    """Seconds of each file's calls, (turns, calls), and what held meanwhile.

    `cpus` held the threads; `team_shares` are readings of `Teamwork`, of several CPU threads only.
    """

    seconds: Mapping[str, np.ndarray]
    cpus: tuple[int, ...]
    team_shares: tuple[float, ...] = ()


def time_files(
    paths: Mapping[str, Path],
    conditions: Conditions,
    *,
    vocab_size: int,
    min_seconds: float,
    max_seconds: float,
    percentiles: Sequence[float] = (50, 95, 99),
    clock: Clock = time.perf_counter,
) -> FileTimings:
    """Time ONNX files in turns under the conditions; limits are those of `time_interleaved`."""
    shares: list[float] = []
    with pinned(conditions.num_threads) as cpus:
        team = Teamwork(conditions.num_threads) if _has_a_team(conditions) else None
        calls = {name: timed_call(path, conditions, vocab_size=vocab_size) for name, path in paths.items()}
        seconds = time_interleaved(
            calls,
            min_seconds=min_seconds,
            max_seconds=max_seconds,
            percentiles=percentiles,
            clock=clock,
            between=None if team is None else lambda: shares.append(team.share()),
        )
    return FileTimings(seconds, cpus, tuple(shares))


def _has_a_team(conditions: Conditions) -> bool:
    return conditions.num_threads > 1 and conditions.provider == "cpu"


def measure_files(
    paths: Mapping[str, Path],
    conditions: Conditions,
    *,
    vocab_size: int,
    min_seconds: float,
    max_seconds: float,
    percentiles: Sequence[float] = (50, 95, 99),
    clock: Clock = time.perf_counter,
) -> dict[str, LatencySummary]:
    """The summaries of `time_files`."""
    timings = time_files(
        paths,
        conditions,
        vocab_size=vocab_size,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        percentiles=percentiles,
        clock=clock,
    )
    shares = timings.team_shares
    widest = (min(shares), max(shares)) if shares else None
    return {
        name: replace(summarize(turns, percentiles), cpus=timings.cpus, team_shares=widest)
        for name, turns in timings.seconds.items()
    }
