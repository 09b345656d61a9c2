"""Was the machine quiet meanwhile? Asked of the kernel's counters and of a loop that never changes.

A latency from a busy machine is still given, but it is said to be one.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bertcompress.measure.clock import NOISY_IQR_SHARE, LatencySummary, summarize, team_changed

# Above these shares a measurement is called noisy.
MAX_BUSY_SHARE = 0.1
MAX_STEAL_SHARE = 0.01
MAX_DRIFT = 0.05
CALIBRATION_CALLS = 60
_STAT = Path("/proc/stat")
# Columns of the "cpu" line of /proc/stat: user nice system idle iowait irq softirq steal.
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


@dataclass(frozen=True)
class Noise:
    """What else the machine did meanwhile; None where the system does not tell.

    `busy_share_of_others` is CPU time of other processes over that of all CPUs, `steal_share` that taken by
    the hypervisor. `calibration_drift` is the change of a fixed loop from before to after, `calibration_iqr`
    its interquartile range over its median. `load_average` is that of the minute before. `team_shares` are
    the least and the most that several threads took of one thread's time, where several were timed.
    """

    seconds: float
    load_average: float | None
    busy_share_of_others: float | None
    steal_share: float | None
    calibration_ms: float
    calibration_drift: float
    calibration_iqr: float
    team_shares: tuple[float, float] | None = None

    @property
    def reasons(self) -> list[str]:
        """Why the measurement is not to be trusted to a few percent; empty on a quiet machine."""
        found = []
        if self.busy_share_of_others is not None and self.busy_share_of_others > MAX_BUSY_SHARE:
            found.append(f"other processes used {self.busy_share_of_others:.0%} of the CPUs")
        if self.steal_share is not None and self.steal_share > MAX_STEAL_SHARE:
            found.append(f"the hypervisor took {self.steal_share:.1%} of the CPU time")
        if abs(self.calibration_drift) > MAX_DRIFT:
            found.append(f"a fixed loop took {self.calibration_drift:+.0%} after against before")
        if self.calibration_iqr > NOISY_IQR_SHARE:
            found.append(f"a fixed loop's timings spread over {self.calibration_iqr:.0%} of their median")
        if self.team_shares is not None and team_changed(self.team_shares):
            least, most = self.team_shares
            found.append(
                f"several threads took {least:.2f} to {most:.2f} of one thread's time for the same work: "
                "the CPUs were near each other at times, and far apart at others"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The fields, `noisy` and its reasons as JSON values."""
        shares = None if self.team_shares is None else list(self.team_shares)
        return {**asdict(self), "team_shares": shares, "noisy": bool(self.reasons), "reasons": self.reasons}


class NoiseWatch:
    """Watches the machine while its block runs; `noise` is there afterwards.

    Give it to the block that measures, and to nothing else: work of this process outside the measurement
    counts as its own, not as noise.
    """

    def __enter__(self) -> Self:
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        self._before = _calibrate()
        self._ticks, self._own = _cpu_ticks(), _own_seconds()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._start
        ticks, own = _cpu_ticks(), _own_seconds() - self._own
        after = _calibrate()
        others, steal = _shares(self._ticks, ticks, own)
        before_ms, after_ms = self._before.p50_ms, after.p50_ms
        self.noise = Noise(
            seconds=seconds,
            load_average=self._load,
            busy_share_of_others=others,
            steal_share=steal,
            calibration_ms=before_ms,
            calibration_drift=after_ms / before_ms - 1,
            calibration_iqr=max(self._before.iqr_ms / before_ms, after.iqr_ms / after_ms),
        )


def _calibrate() -> LatencySummary:
    """Timings of a loop that is the same every time: pure Python, one thread, in the first-level cache."""
    seconds = []
    for _ in range(CALIBRATION_CALLS):
        start = time.perf_counter()
        sum(range(20_000))
        seconds.append(time.perf_counter() - start)
    # The first calls wake the processor up.
    return summarize(seconds[CALIBRATION_CALLS // 3 :], (50,))


def _cpu_ticks() -> np.ndarray | None:
    """The machine's CPU time so far by kind (user, nice, ... steal) in ticks, or None."""
    try:
        words = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    return np.array([int(word) for word in words[1:9]], dtype=np.float64)


def _own_seconds() -> float:
    """CPU seconds of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _shares(
    before: np.ndarray | None, after: np.ndarray | None, own_seconds: float
) -> tuple[float | None, float | None]:
    """Shares of all CPU time between two readings: other processes', and the hypervisor's."""
    if before is None or after is None or after.sum() <= before.sum():
        return None, None
    spent = after - before
    whole, steal = spent.sum(), spent[_STEAL]
    own = own_seconds * os.sysconf("SC_CLK_TCK")
    busy = whole - spent[_IDLE] - spent[_IOWAIT] - steal
    return float(max(0.0, busy - own) / whole), float(steal / whole)
