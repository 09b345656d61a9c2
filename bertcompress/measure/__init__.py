"""The one latency instrument: whoever wants a latency, the table, the benchmark or the report, reads it here.

clock times contenders in turns, session opens files under stated conditions, files times them, machine says
where and on which CPUs, noise and teamwork whether the machine was quiet and its CPUs near each other,
cold_start starts a process of its own, callers asks concurrently.
"""

from __future__ import annotations

from bertcompress.measure.clock import (
    CLOCKS,
    LatencySummary,
    Ratio,
    measure_interleaved,
    ratio,
    repeats_needed,
    round_order,
    summarize,
    time_interleaved,
)
from bertcompress.measure.files import FileTimings, measure_files, time_files
from bertcompress.measure.machine import cpu_model, gpu_model, machine_key, num_cpus, pinned
from bertcompress.measure.noise import Noise, NoiseWatch
from bertcompress.measure.session import (
    Conditions,
    best_clock,
    check_provider,
    random_feed,
    run,
    session,
    timed_call,
)

__all__ = [
    "CLOCKS",
    "Conditions",
    "FileTimings",
    "LatencySummary",
    "Noise",
    "NoiseWatch",
    "Ratio",
    "best_clock",
    "check_provider",
    "cpu_model",
    "gpu_model",
    "machine_key",
    "measure_files",
    "measure_interleaved",
    "num_cpus",
    "pinned",
    "random_feed",
    "ratio",
    "repeats_needed",
    "round_order",
    "run",
    "session",
    "summarize",
    "time_files",
    "time_interleaved",
    "timed_call",
]
