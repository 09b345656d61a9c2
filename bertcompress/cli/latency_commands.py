"""`bertcompress latency`: what files take on this machine, and what the operators of a space take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bertcompress.cli.options import (
    RecipeArgument,
    SetOption,
    exported_files,
    plain_errors,
    whole_numbers,
)

app = typer.Typer(help="Read the latency clock: exported files, or the operators of a space.")
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Also write the result as JSON.", show_default=False)
]


@app.command("time")
def time_command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of exported models.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a call.")] = 1,
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens a row.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a session.")] = 1,
    provider: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[
        float, typer.Option(min=0, help="At least so long a file; up to ten times for p99.")
    ] = 3.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements independent of each other.")] = 1,
    callers: Annotated[str, typer.Option(help="Concurrent callers of one session.")] = "1,2",
    output: OutputOption = None,
) -> None:
    """Time every ONNX file in turns: percentiles, cold start, memory, throughput, and how quiet it was."""
    with plain_errors():
        contenders, num_callers = exported_files(folders), whole_numbers(callers)

        from bertcompress.latency.benchmark import benchmark, benchmark_serving
        from bertcompress.measure import Conditions

        results = [
            benchmark(
                contenders,
                batch_sizes=(batch_size,),
                sequence_lengths=(sequence_length,),
                num_threads=(threads,),
                provider=provider,
                seconds_per_point=seconds,
                most_seconds_per_point=10 * seconds,
            )
            for _ in range(repeats)
        ]
        conditions = Conditions(batch_size, sequence_length, threads, provider=provider)
        result = {
            **results[0],
            "repeats": [{"rows": each["rows"], "noise": each["noise"]} for each in results],
            "p50_disagreement": p50_disagreement([each["rows"] for each in results]),
            **benchmark_serving(contenders, conditions, num_callers=num_callers, seconds=seconds / 2),
        }
    _print_timings(result)
    _write(result, output)


@app.command("table")
def table_command(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    heldout: Annotated[
        int | None,
        typer.Option(min=2, help="Chains to tell the error by. (default: the recipe's)", show_default=False),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Fit what each operator of a recipe's space takes, on whole exported chains; print the error."""
    with plain_errors():
        from bertcompress.recipe import load_recipe

        loaded = load_recipe(recipe, overrides or [])

        from rich.console import Console

        from bertcompress.pipeline.operator_costs import recipe_table

        table = recipe_table(loaded, num_heldout=heldout, console=Console(stderr=True))
    _print_table(table.to_dict())
    _write(table.to_dict(), output)


def p50_disagreement(measurements: Sequence[Sequence[Mapping[str, Any]]]) -> float | None:
    """The largest relative spread of one file's p50 over independent measurements; None of only one."""
    if len(measurements) < 2:
        return None
    medians = [[row["p50_ms"] for row in rows] for rows in measurements]
    return max(max(values) / min(values) - 1 for values in zip(*medians, strict=True))


def _write(result: Mapping[str, Any], output: Path | None) -> None:
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _print_timings(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("p50 ms", "p50 from", "to", "p95 ms", "p99 ms", "cold start ms", "load ms", "peak MiB")
    table = Table("model", *columns, "noisy")
    keys = ("p50_ms", "p50_low_ms", "p50_high_ms", "p95_ms", "p99_ms")
    fresh = {row["model"]: row for row in result["fresh"]}
    for row in result["rows"]:
        start = fresh[row["model"]]
        values = [*(row[key] for key in keys), start["cold_start_ms"], start["session_load_ms"]]
        cells = ["-" if value is None else f"{value:.3g}" for value in (*values, start["peak_memory_mib"])]
        table.add_row(row["model"], *cells, "noisy" if row["noisy"] else "")
    console = Console()
    console.print(table)
    for row in result["throughput"]:
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


def _print_table(table: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from bertcompress.report.numbers import number
    from bertcompress.report.sections.latency import operator_costs

    shown = Table("operator", "ms", title=table["machine"])
    for name, milliseconds in operator_costs(table):
        shown.add_row(name, number(milliseconds, 4))
    console = Console()
    console.print(shown)
    error = "-" if table["mape_percent"] is None else f"{table['mape_percent']:.2f}%"
    kendall = "-" if table["kendall"] is None else f"{table['kendall']:.3f}"
    noise = table["noise_percent"]
    console.print(
        f"Fitted on {table['num_chains']} whole chains; on {table['num_heldout']} held out: "
        f"mean absolute error {error}, Kendall {kendall}"
        + ("" if noise is None else f"; of the clock alone {noise:.2f}%, all being measured twice")
    )
