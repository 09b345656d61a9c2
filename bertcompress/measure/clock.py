"""Timing by turns: contenders alternate, so that a slow minute of the machine touches all of them alike.

A percentile is given only when enough repeats lie beyond it, and the cost of reading the clock is taken off.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Clock = Callable[[], float]
# "thread" counts the calling thread's own time: it ignores busy neighbours, and sees no other thread's work.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "thread": time.thread_time}
# A turn times so many calls of each contender: eight of fast ones, two where one of them is slow.
MIN_CALLS_PER_TURN, MAX_CALLS_PER_TURN = 2, 8
SECONDS_PER_TURN = 0.008
# Before them come untimed ones, until the weights are back in the cache: after a large network's, up to ten.
MAX_WARMING_CALLS = 10
WARMING_SECONDS = 0.01
MIN_REPEATS = 10
# A percentile stands on at least this many samples beyond it.
MIN_SAMPLES_BEYOND = 5
NOISY_IQR_SHARE = 0.1
# Readings of teamwork spread over a few percent by themselves.
MAX_TEAM_CHANGE = 1.1
# Something to do between rounds is done so often.
SECONDS_BETWEEN = 0.25
# Warm-up goes on until this many calls are no longer faster than those before, but not without an end.
WARM_UP_WINDOW = 3
MAX_WARM_UP_WINDOWS = 10
STABLE_SHARE = 0.05
CLOCK_READINGS = 101


@dataclass(frozen=True)
class LatencySummary:
    """Repeated timings of one contender; a percentile its repeats cannot support is None.

    `p50_low_ms` to `p50_high_ms` holds the median with 95% confidence, whatever the distribution, as far as
    turns are independent of each other. `cpus` are those that the threads were held to; empty: to none.
    `team_shares` are the least and the most that several threads took of one thread's time (`Teamwork`).
    """

    p50_ms: float
    p95_ms: float | None
    p99_ms: float | None
    iqr_ms: float
    repeats: int
    p50_low_ms: float | None = None
    p50_high_ms: float | None = None
    cpus: tuple[int, ...] = ()
    team_shares: tuple[float, float] | None = None

    @property
    def noisy(self) -> bool:
        """Whether the middle half of the timings spreads over more than a tenth of the median, or threads
        worked together well at times and less well at others."""
        spread = self.iqr_ms > NOISY_IQR_SHARE * self.p50_ms
        return spread or (self.team_shares is not None and team_changed(self.team_shares))

    def to_dict(self) -> dict[str, Any]:
        """The fields and the noise flag as JSON values."""
        shares = None if self.team_shares is None else list(self.team_shares)
        return {**asdict(self), "cpus": list(self.cpus), "team_shares": shares, "noisy": self.noisy}


def team_changed(shares: tuple[float, float]) -> bool:
    """Whether the lowest and the highest reading of `Teamwork` are of different states of the machine."""
    return shares[1] > MAX_TEAM_CHANGE * shares[0]


@dataclass(frozen=True)
class Ratio:
    """How much time one contender takes of another's, with a 95% interval over the turns they shared."""

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The fields as JSON values."""
        return asdict(self)


def repeats_needed(percentile: float) -> int:
    """The fewest repeats that leave MIN_SAMPLES_BEYOND samples beyond `percentile`: 500 for 99."""
    # Rounded first: 5 / (1 - 0.99) is a hair above 500 in floating point.
    return int(np.ceil(round(MIN_SAMPLES_BEYOND / (1 - percentile / 100), 6)))


def summarize(
    seconds: Sequence[float] | np.ndarray, percentiles: Sequence[float] = (50, 95, 99)
) -> LatencySummary:
    """Timings in seconds as a summary in milliseconds; p95 and p99 only where asked for and supported.

    An array of turns (turns, calls) also gives the interval of the median.
    """
    timings = np.asarray(seconds, dtype=np.float64) * 1000
    milliseconds = timings.ravel()
    repeats = len(milliseconds)

    def supported(percentile: float) -> float | None:
        if percentile not in percentiles or repeats < repeats_needed(percentile):
            return None
        return float(np.percentile(milliseconds, percentile))

    first_quartile, third_quartile = np.percentile(milliseconds, [25, 75])
    low, high = median_interval(np.median(timings, axis=1)) if timings.ndim == 2 else (None, None)
    return LatencySummary(
        p50_ms=float(statistics.median(milliseconds.tolist())),
        p95_ms=supported(95),
        p99_ms=supported(99),
        iqr_ms=float(third_quartile - first_quartile),
        repeats=repeats,
        p50_low_ms=low,
        p50_high_ms=high,
    )


def median_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """A 95% interval of the median of independent values, from their order alone; all of them if too few."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    number = len(ordered)
    # Ranks on either side of the middle: the count below the median is binomial (n, 1/2).
    rank = max(0, math.floor(number / 2 - 1.96 * math.sqrt(number) / 2))
    return float(ordered[rank]), float(ordered[number - 1 - rank])


def ratio(seconds: np.ndarray, reference: np.ndarray) -> Ratio:
    """Turns (turns, calls) against those of a contender in the same rounds: above 1 is slower than it.

    Each round gives one quotient of medians, so that what slowed both of them down cancels.
    """
    quotients = np.median(seconds, axis=1) / np.median(reference, axis=1)
    low, high = median_interval(quotients)
    return Ratio(float(np.median(quotients)), low, high)


def round_order(number: int, index: int) -> list[int]:
    """The places of `number` contenders in a round: at random, so that none is always hit by what comes
    at intervals, and always the same."""
    return random.Random(index).sample(range(number), number)


def clock_overhead(clock: Clock) -> float:
    """Seconds that a timing holds although nothing lies between its two readings: the median of many."""
    readings = []
    for _ in range(CLOCK_READINGS):
        start = clock()
        readings.append(clock() - start)
    return statistics.median(readings)


def warm_up(call: Callable[[], object], clock: Clock = time.perf_counter, max_seconds: float = 10.0) -> int:
    """Calls until the time a call takes has settled, and says how many calls that took.

    Settled: the last WARM_UP_WINDOW calls are within STABLE_SHARE of the window before. It ends after
    MAX_WARM_UP_WINDOWS windows or `max_seconds` all the same.
    """
    before, spent, made = math.inf, 0.0, 0
    while made < MAX_WARM_UP_WINDOWS * WARM_UP_WINDOW:
        timings = []
        for _ in range(WARM_UP_WINDOW):
            start = clock()
            call()
            timings.append(clock() - start)
        middle = statistics.median(timings)
        spent += sum(timings)
        made += WARM_UP_WINDOW
        if abs(before - middle) <= STABLE_SHARE * middle or spent >= max_seconds:
            break
        before = middle
    return made


def settled_seconds(call: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Seconds that a call takes once it is warmed up."""
    warm_up(call, clock)
    start = clock()
    call()
    return clock() - start


def calls_within(seconds: float, call_seconds: float, most: int) -> int:
    """How many calls of `call_seconds` fit into `seconds`: one at least, `most` at most."""
    return most if call_seconds * most <= seconds else max(1, int(seconds / call_seconds))


def time_interleaved(
    contenders: Mapping[str, Callable[[], object]],
    *,
    min_seconds: float,
    max_seconds: float,
    percentiles: Sequence[float] = (50, 95, 99),
    clock: Clock = time.perf_counter,
    between: Callable[[], object] | None = None,
) -> dict[str, np.ndarray]:
    """Seconds of every call, (turns, calls a turn): rounds in `round_order`, untimed calls before each turn.

    Untimed calls bring a network's weights back into the cache, where a server that runs only this one has
    them; without them small networks look slower beside large ones. Both limits are timed seconds a
    contender, on average. Measuring goes on past `min_seconds` until the highest percentile is supported,
    and stops at `max_seconds` whether it is or not, but never below MIN_REPEATS. `between` is called before
    the first round, between others every SECONDS_BETWEEN, and after the last.
    """
    overhead = clock_overhead(clock)
    settled = {name: settled_seconds(call, clock) for name, call in contenders.items()}
    warming = {name: calls_within(WARMING_SECONDS, each, MAX_WARMING_CALLS) for name, each in settled.items()}
    fitting = calls_within(SECONDS_PER_TURN, max(settled.values(), default=0.0), MAX_CALLS_PER_TURN)
    calls_per_turn = max(MIN_CALLS_PER_TURN, fitting)
    turns: dict[str, list[list[float]]] = {name: [] for name in contenders}
    wanted = max(MIN_REPEATS, *(repeats_needed(percentile) for percentile in percentiles), 0)
    named = list(contenders.items())
    spent, due = 0.0, 0.0
    repeats = 0
    while repeats < MIN_REPEATS or spent < min_seconds * len(named) or repeats < wanted:
        if not named or (repeats >= MIN_REPEATS and spent >= max_seconds * len(named)):
            break
        if between is not None and spent >= due:
            between()
            due = spent + SECONDS_BETWEEN
        for place in round_order(len(named), repeats // calls_per_turn):
            name, call = named[place]
            for _ in range(warming[name]):
                call()
            turn = []
            for _ in range(calls_per_turn):
                start = clock()
                call()
                turn.append(max(0.0, clock() - start - overhead))
            turns[name].append(turn)
            spent += sum(turn)
        repeats += calls_per_turn
    if between is not None:
        between()
    return {name: np.array(turn) for name, turn in turns.items()}


def measure_interleaved(
    contenders: Mapping[str, Callable[[], object]],
    *,
    min_seconds: float,
    max_seconds: float,
    percentiles: Sequence[float] = (50, 95, 99),
    clock: Clock = time.perf_counter,
) -> dict[str, LatencySummary]:
    """The summaries of `time_interleaved`."""
    timings = time_interleaved(
        contenders, min_seconds=min_seconds, max_seconds=max_seconds, percentiles=percentiles, clock=clock
    )
    return {name: summarize(turns, percentiles) for name, turns in timings.items()}
