"""Time every exported file, each against the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertcompress.export.precisions import PRECISIONS
from bertcompress.latency.benchmark import benchmark
from bertcompress.measure import CLOCKS, Conditions, best_clock, measure_files
from bertcompress.pipeline.roles import roles
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.stage import Stage


def run_benchmark(run: Run) -> None:
    """Time every exported file at the conditions of every latency first, then over the recipe's grid."""
    chosen = run.recipe.benchmark
    files = {
        f"{role}/{precision}": run.path("export", role, PRECISIONS[precision].file_name)
        for role in roles(run)
        for precision in run.recipe.export.precisions
    }
    at_latencies = {
        name: _timed(files, run, conditions) for name, conditions in run.latency_conditions.items()
    }
    grid = benchmark(
        files,
        batch_sizes=tuple(chosen.batch_sizes),
        sequence_lengths=tuple(chosen.sequence_lengths),
        num_threads=tuple(chosen.num_threads),
        provider=run.conditions.provider,
        seconds_per_point=chosen.seconds_per_point,
        on_progress=lambda done, total: run.say(f"benchmark: {done} of {total} points"),
    )
    for row in grid["rows"]:
        row["model"] = row["model"].partition("/")[0]
    run.folder.write_json("benchmark/benchmark.json", {**grid, "at_latencies": at_latencies})


def _timed(files: Mapping[str, Path], run: Run, conditions: Conditions) -> dict[str, dict[str, Any]]:
    """The files against each other at the conditions of one latency, by the files' names."""
    seconds = run.recipe.benchmark.seconds_per_point
    summaries = measure_files(
        files,
        conditions,
        vocab_size=run.space.dimensions.vocab_size,
        min_seconds=seconds,
        max_seconds=2 * seconds,
        clock=CLOCKS[best_clock(conditions)],
    )
    return {name: summary.to_dict() for name, summary in summaries.items()}


STAGE = Stage("benchmark", ("benchmark",), ("export",), run_benchmark)
