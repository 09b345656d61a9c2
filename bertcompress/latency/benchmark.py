"""The benchmark: exported files against each other over batch size, sequence length and threads."""

from __future__ import annotations

import itertools
import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bertcompress.errors import DataError
from bertcompress.export.precisions import PRECISIONS
from bertcompress.measure import (
    Conditions,
    LatencySummary,
    NoiseWatch,
    check_provider,
    cpu_model,
    gpu_model,
    machine_key,
    measure_files,
    num_cpus,
)
from bertcompress.measure.callers import measure_throughput
from bertcompress.measure.cold_start import measure_cold_start
from bertcompress.measure.versions import versions
from bertcompress.sources.limits import input_limits, too_long

CONFIG_NAME = "config.json"


def benchmark(
    contenders: Mapping[str, Path],
    *,
    batch_sizes: Sequence[int] = (1, 8),
    sequence_lengths: Sequence[int] = (32, 128),
    num_threads: Sequence[int] = (1, 2),
    provider: str = "cpu",
    seconds_per_point: float = 3.0,
    most_seconds_per_point: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Times every ONNX file at every point, all files of a point in turns, as a JSON value with its origin.

    `seconds_per_point` is for each file at each point; where p99 asks for more, `most_seconds_per_point` at
    most, if given. A percentile that the repeats cannot support is None. "noise" says how quiet it was.
    Points with more threads than CPUs are not timed but listed under "skipped". A config.json beside each
    file says how many words and positions it knows. `on_progress` is called with (points done, all points).

    Raises:
        DataError: a file or its config.json is missing, or a shape is impossible.
        MissingExtraError: this onnxruntime lacks the provider.
    """
    check_provider(provider)
    most_threads = num_cpus()
    points = list(itertools.product(num_threads, batch_sizes, sequence_lengths))
    vocab_size = _check(contenders, batch_sizes, sequence_lengths, num_threads)
    timed = [point for point in points if point[0] <= most_threads]
    rows: list[dict[str, Any]] = []
    with NoiseWatch() as watch:
        for index, (threads, batch_size, sequence_length) in enumerate(timed):
            conditions = Conditions(batch_size, sequence_length, threads, provider=provider)
            summaries = measure_files(
                contenders,
                conditions,
                vocab_size=vocab_size,
                min_seconds=seconds_per_point,
                max_seconds=most_seconds_per_point or seconds_per_point,
            )
            rows += [_row(name, contenders[name], conditions, summary) for name, summary in summaries.items()]
            if on_progress is not None:
                on_progress(index + 1, len(timed))
    reason = f"more threads than the {most_threads} CPUs of this machine"
    return {
        **origin(provider),
        "seconds_per_point": seconds_per_point,
        "noise": replace(watch.noise, team_shares=widest_team_shares(rows)).to_dict(),
        "rows": rows,
        "skipped": [
            {"num_threads": point[0], "batch_size": point[1], "sequence_length": point[2], "reason": reason}
            for point in points
            if point not in timed
        ],
    }


def widest_team_shares(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float] | None:
    """The least and the most that threads of one number took of one thread's time, where they differ most."""
    known: dict[int, list[float]] = {}
    for row in rows:
        known.setdefault(row["num_threads"], []).extend(row["team_shares"] or [])
    pairs = [(min(shares), max(shares)) for shares in known.values() if shares]
    return max(pairs, key=lambda pair: pair[1] / pair[0], default=None)


def benchmark_serving(
    contenders: Mapping[str, Path],
    conditions: Conditions,
    *,
    num_callers: Sequence[int] = (1, 2),
    num_processes: int = 3,
    seconds: float = 2.0,
) -> dict[str, Any]:
    """What serving each file takes: "fresh" rows (cold start, load, memory), "throughput" rows by callers.

    Raises:
        DataError: a file or its config.json is missing, or a shape is impossible.
    """
    vocab_size = _check(
        contenders, [conditions.batch_size], [conditions.sequence_length], [conditions.num_threads]
    )
    fresh, throughput = [], []
    for name, path in contenders.items():
        about = {"model": name, **conditions.to_dict(), "precision": precision_of(path)}
        start = measure_cold_start(path, conditions, vocab_size=vocab_size, num_processes=num_processes)
        fresh.append({**about, **start.to_dict()})
        for callers in num_callers:
            found = measure_throughput(
                path, conditions, vocab_size=vocab_size, num_callers=callers, seconds=seconds
            )
            throughput.append({**about, **found.to_dict()})
    return {"fresh": fresh, "throughput": throughput}


def origin(provider: str = "cpu") -> dict[str, Any]:
    """Where numbers come from: command, date, versions and machine."""
    machine = {
        "key": machine_key(provider),
        "cpu": cpu_model(),
        "num_cpus": num_cpus(),
        "platform": platform.platform(),
    }
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": {**machine, "gpu": gpu_model()} if provider == "cuda" else machine,
    }


def precision_of(path: Path) -> str:
    """The precision that an exported file's name tells: model_int8.onnx is int8, model.onnx is fp32."""
    endings = {word: Path(each.file_name).stem.removeprefix("model") for word, each in PRECISIONS.items()}
    matching = [name for name, ending in endings.items() if ending and path.stem.endswith(ending)]
    return matching[0] if matching else "fp32"


def _row(name: str, path: Path, conditions: Conditions, summary: LatencySummary) -> dict[str, Any]:
    return {
        "model": name,
        **conditions.to_dict(),
        "precision": precision_of(path),
        **summary.to_dict(),
        "throughput_per_s": conditions.batch_size * 1000 / summary.p50_ms,
    }


def _check(
    contenders: Mapping[str, Path],
    batch_sizes: Sequence[int],
    sequence_lengths: Sequence[int],
    num_threads: Sequence[int],
) -> int:
    """The number of words that all files know, once every problem of the request is ruled out."""
    problems = [] if contenders else ["no file to time; name an exported model's folder"]
    axes = {"batch_sizes": batch_sizes, "sequence_lengths": sequence_lengths, "num_threads": num_threads}
    for name, values in axes.items():
        if not values or min(values) < 1:
            problems.append(f"{name}: {list(values)}; use one or more numbers from 1")
    if num_threads and min(num_threads) > num_cpus():
        problems.append(
            f"num_threads: {list(num_threads)}; this machine lends {num_cpus()} CPUs, use at most those"
        )
    vocab_sizes = []
    for name, path in contenders.items():
        config = path.with_name(CONFIG_NAME)
        if not path.is_file() or not config.is_file():
            problems.append(
                f"{name}: {path} needs to be a file with {CONFIG_NAME} beside it; export it again"
            )
            continue
        try:
            values = json.loads(config.read_text(encoding="utf-8"))
            limits = input_limits(values)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{name}: {config} lacks vocab_size or max_position_embeddings ({error!r})")
            continue
        vocab_sizes.append(limits.vocab_size)
        if problem := too_long("sequence_lengths", max(sequence_lengths, default=0), limits, name):
            problems.append(problem)
    if problems:
        raise DataError.from_problems("benchmark", problems)
    return min(vocab_sizes)
