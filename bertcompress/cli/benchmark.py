"""`bertcompress benchmark`: what exported files take on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertcompress.cli.options import (
    OutputOption,
    exported_files,
    plain_errors,
    say_new_word,
    whole_numbers,
    write_json,
)
from bertcompress.files import check_output_file

if TYPE_CHECKING:
    from bertcompress.report.section import Table


def benchmark(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of exported models.")],
    against: Annotated[Path | None, typer.Option(hidden=True)] = None,
    provider: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch_sizes: Annotated[str, typer.Option(help="Rows a call.")] = "1,8",
    sequence_lengths: Annotated[str, typer.Option(help="Tokens a row.")] = "32,128",
    threads: Annotated[str, typer.Option(help="Threads of a session.")] = "1,2",
    seconds: Annotated[
        float, typer.Option(min=0, help="At least so long a file and point; up to ten times for p99.")
    ] = 3.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements independent of each other.")] = 1,
    serving: Annotated[
        bool, typer.Option("--serving/--no-serving", help="Also cold start, memory and throughput.")
    ] = True,
    callers: Annotated[str, typer.Option(help="Concurrent callers of one session, for throughput.")] = "1,2",
    output: OutputOption = None,
) -> None:
    """Time every ONNX file of the folders, in turns: percentiles by batch, length and threads, and serving.

    Cold start, memory and throughput are those of the first batch size, length and number of threads.
    """
    if against is not None:
        say_new_word("benchmark DIR --against DIR", "benchmark DIR DIR")
    with plain_errors():
        check_output_file(output)
        contenders = exported_files([*folders, *([] if against is None else [against])])
        shapes = whole_numbers(batch_sizes), whole_numbers(sequence_lengths), whole_numbers(threads)
        num_callers = whole_numbers(callers)

        from bertcompress.latency.benchmark import benchmark as time_contenders
        from bertcompress.latency.benchmark import benchmark_serving
        from bertcompress.measure import Conditions

        results = [
            time_contenders(
                contenders,
                batch_sizes=shapes[0],
                sequence_lengths=shapes[1],
                num_threads=shapes[2],
                provider=provider,
                seconds_per_point=seconds,
                most_seconds_per_point=10 * seconds,
            )
            for _ in range(repeats)
        ]
        result = results[0] | _repeats(results)
        if serving:
            conditions = Conditions(shapes[0][0], shapes[1][0], shapes[2][0], provider=provider)
            result |= benchmark_serving(contenders, conditions, num_callers=num_callers, seconds=seconds / 2)
    _print_result(result)
    write_json(result, output)


def _repeats(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "repeats": [{"rows": each["rows"], "noise": each["noise"]} for each in results],
        "p50_disagreement": p50_disagreement([each["rows"] for each in results]),
    }


def p50_disagreement(measurements: Sequence[Sequence[Mapping[str, Any]]]) -> float | None:
    """Return the largest relative spread of one file's p50 over several measurements; None of only one."""
    if len(measurements) < 2:
        return None
    medians = [[row["p50_ms"] for row in rows] for rows in measurements]
    return max(max(values) / min(values) - 1 for values in zip(*medians, strict=True))


def _print_result(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    from bertcompress.report.terminal import print_table

    console = Console()
    print_table(_timing_table(result["rows"]), console)
    if "fresh" in result:
        console.print()
        print_table(_start_table(result["fresh"]), console)
    for row in result.get("throughput", []):
        latency_ms = row["latency"]["p50_ms"]
        console.print(
            f"{row['model']}: {row['num_callers']} callers get {row['rows_per_s']:.0f} rows a second, "
            f"p50 {latency_ms:.3g} ms under load"
        )
    if result["p50_disagreement"] is not None:
        console.print(
            f"{len(result['repeats'])} measurements: p50 differs by {result['p50_disagreement']:.1%} at most"
        )
    for each in result["repeats"]:
        for reason in each["noise"]["reasons"]:
            console.print(f"noisy machine: {reason}")


def _timing_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as a table; a percentile that the repeats cannot support is a dash."""
    from bertcompress.report.section import Column, Table

    shape = {"batch": "batch_size", "tokens": "sequence_length", "threads": "num_threads"}
    times = {"p50 ms": "p50_ms", "p95 ms": "p95_ms", "p99 ms": "p99_ms", "rows/s": "throughput_per_s"}
    columns: list[Column[Mapping[str, Any]]] = [Column("file", itemgetter("model"), is_text=True)]
    columns += [Column(title, _whole(key)) for title, key in shape.items()]
    columns += [Column(title, _rounded(key)) for title, key in times.items()]
    columns += [Column("", lambda row: "noisy" if row["noisy"] else "", is_text=True)]
    return Table.of(columns, rows)


def _start_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return what a new process takes to answer, by file."""
    from bertcompress.report.section import Column, Table

    keys = {"cold start ms": "cold_start_ms", "load ms": "session_load_ms", "peak MiB": "peak_memory_mib"}
    columns: list[Column[Mapping[str, Any]]] = [Column("file", itemgetter("model"), is_text=True)]
    return Table.of([*columns, *(Column(title, _rounded(key)) for title, key in keys.items())], rows)


def _whole(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: str(row[key])


def _rounded(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "-" if row[key] is None else f"{row[key]:.4g}"
