"""The one latency clock: whoever wants a latency, the table, the benchmark or the report, reads it here.

Contenders are timed in alternating rounds, so that a slow minute of the machine touches all of them alike; a
percentile is given only when enough repeats lie beyond it.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bertcompress.errors import BudgetError, ExportError, MissingExtraError

Clock = Callable[[], float]
# "thread" counts the calling thread's own time: it ignores busy neighbours, and sees no other thread's work.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "thread": time.thread_time}
PROVIDERS: dict[str, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
NUM_WARM_UP_CALLS = 3
CALLS_PER_TURN = 4
MIN_REPEATS = 5
# A percentile stands on at least this many samples beyond it.
MIN_SAMPLES_BEYOND = 5
NOISY_IQR_SHARE = 0.1


@dataclass(frozen=True, order=True)
class Conditions:
    """What a latency holds for; two latencies of different conditions are never compared."""

    batch_size: int = 1
    sequence_length: int = 32
    num_threads: int = 1
    precision: str = "fp32"
    provider: str = "cpu"

    def __str__(self) -> str:
        threads = "1 thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        shape = f"batch {self.batch_size} x {self.sequence_length} tokens"
        return f"{shape}, {threads}, {self.precision}, {self.provider}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class LatencySummary:
    """Repeated timings of one contender; a percentile its repeats cannot support is None."""

    p50_ms: float
    p95_ms: float | None
    p99_ms: float | None
    iqr_ms: float
    repeats: int

    @property
    def noisy(self) -> bool:
        """Whether the middle half of the timings spreads over more than a tenth of the median."""
        return self.iqr_ms > NOISY_IQR_SHARE * self.p50_ms

    def to_dict(self) -> dict[str, Any]:
        """The fields and the noise flag as JSON values."""
        return {**asdict(self), "noisy": self.noisy}


def repeats_needed(percentile: float) -> int:
    """The fewest repeats that leave MIN_SAMPLES_BEYOND samples beyond `percentile`: 500 for 99."""
    # Rounded first: 5 / (1 - 0.99) is a hair above 500 in floating point.
    return int(np.ceil(round(MIN_SAMPLES_BEYOND / (1 - percentile / 100), 6)))


def summarize(seconds: Sequence[float], percentiles: Sequence[float] = (50, 95, 99)) -> LatencySummary:
    """Timings in seconds as a summary in milliseconds; p95 and p99 only where asked for and supported."""
    milliseconds = np.asarray(seconds, dtype=np.float64) * 1000
    repeats = len(milliseconds)

    def supported(percentile: float) -> float | None:
        if percentile not in percentiles or repeats < repeats_needed(percentile):
            return None
        return float(np.percentile(milliseconds, percentile))

    first_quartile, third_quartile = np.percentile(milliseconds, [25, 75])
    return LatencySummary(
        p50_ms=float(statistics.median(milliseconds.tolist())),
        p95_ms=supported(95),
        p99_ms=supported(99),
        iqr_ms=float(third_quartile - first_quartile),
        repeats=repeats,
    )


def measure_interleaved(
    contenders: Mapping[str, Callable[[], object]],
    *,
    min_seconds: float,
    max_seconds: float,
    percentiles: Sequence[float] = (50, 95, 99),
    clock: Clock = time.perf_counter,
) -> dict[str, LatencySummary]:
    """Times the contenders in rounds of alternating direction; a turn is an untimed call and timed ones.

    The untimed call brings a network's weights back into the cache, where a server that runs only this one
    has them; without it small networks look slower beside large ones. Both limits are timed seconds a
    contender, on average. Measuring goes on past `min_seconds` until the highest percentile is supported,
    and stops at `max_seconds` whether it is or not, but never below MIN_REPEATS.
    """
    for call in contenders.values():
        for _ in range(NUM_WARM_UP_CALLS):
            call()
    timings: dict[str, list[float]] = {name: [] for name in contenders}
    wanted = max(MIN_REPEATS, *(repeats_needed(percentile) for percentile in percentiles), 0)
    order = list(contenders.items())
    spent = 0.0
    repeats = 0
    while repeats < MIN_REPEATS or spent < min_seconds * len(order) or repeats < wanted:
        if not order or (repeats >= MIN_REPEATS and spent >= max_seconds * len(order)):
            break
        for name, call in order:
            call()
            for _ in range(CALLS_PER_TURN):
                start = clock()
                call()
                timings[name].append(clock() - start)
        spent += sum(sum(timing[-CALLS_PER_TURN:]) for timing in timings.values())
        repeats += CALLS_PER_TURN
        order.reverse()
    return {name: summarize(timing, percentiles) for name, timing in timings.items()}


def check_provider(provider: str) -> list[str]:
    """ONNX Runtime's provider list for "cpu" or "cuda".

    Raises:
        MissingExtraError: this onnxruntime was built without the provider.
        BudgetError: the word is unknown.
    """
    if provider not in PROVIDERS:
        raise BudgetError(f"provider: {provider!r} is unknown; use one of {', '.join(PROVIDERS)}")
    names = PROVIDERS[provider]
    if names[0] not in ort.get_available_providers():
        found = ", ".join(ort.get_available_providers())
        raise MissingExtraError(
            f"provider {provider}: this onnxruntime has only {found}; run "
            'pip uninstall onnxruntime && pip install "bertcompress[gpu]"'
        )
    return names


def session(path: Path | str, num_threads: int, provider: str = "cpu") -> ort.InferenceSession:
    """An ONNX Runtime session of an already optimised file, its threads pinned and not spinning.

    Opened at level BASIC: a higher level would undo the choice of fusions that was made at export.

    Raises:
        ExportError: the provider is there but could not start, so the run would fall back to another.
    """
    names = check_provider(provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    # Spinning threads of one contender would steal time from the next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    opened = ort.InferenceSession(str(path), options, providers=names)
    if names[0] not in opened.get_providers():
        raise ExportError(f"{path}: provider {provider} did not start; see ONNX Runtime's CUDA requirements")
    return opened


def random_feed(
    opened: ort.InferenceSession, conditions: Conditions, *, vocab_size: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Inputs of the conditions' full shape for all inputs of the graph: unpadded, ids below `vocab_size`."""
    shape = (conditions.batch_size, conditions.sequence_length)
    arrays = {
        "input_ids": np.random.default_rng(seed).integers(0, vocab_size, shape, dtype=np.int64),
        "attention_mask": np.ones(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }
    return {graph_input.name: arrays[graph_input.name] for graph_input in opened.get_inputs()}


def timed_call(
    path: Path | str, conditions: Conditions, *, vocab_size: int, seed: int = 0
) -> Callable[[], object]:
    """A call without arguments that runs the file once under the conditions, for `measure_interleaved`."""
    opened = session(path, conditions.num_threads, conditions.provider)
    feed = random_feed(opened, conditions, vocab_size=vocab_size, seed=seed)
    return lambda: opened.run(None, feed)


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
    """Times ONNX files against each other under the conditions; limits as in `measure_interleaved`."""
    calls = {name: timed_call(path, conditions, vocab_size=vocab_size) for name, path in paths.items()}
    return measure_interleaved(
        calls, min_seconds=min_seconds, max_seconds=max_seconds, percentiles=percentiles, clock=clock
    )


def cpu_model() -> str:
    """The processor's name with its family and model numbers, since clouds shorten the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in lines:
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip(), value.strip())
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"


def gpu_model() -> str:
    """The first GPU's name as its driver tells it.

    Raises:
        ExportError: the driver's tool does not answer.
    """
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise ExportError(f"provider cuda: nvidia-smi does not answer ({error}); check the driver") from error
    return answer.stdout.splitlines()[0].strip()


def machine_key(provider: str = "cpu") -> str:
    """What a stored latency is valid for: the device that computes and the version of ONNX Runtime."""
    device = cpu_model() if provider == "cpu" else f"{gpu_model()}, {cpu_model()}"
    return f"{device}, onnxruntime {ort.__version__}"
