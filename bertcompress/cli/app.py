"""The `bertcompress` command: the whole flow by `run`, or up to one stage by the stage's name.

Every heavy import stands inside the command that needs it, so `--help` and a refused recipe answer at once.
Exit codes: 0 done, 2 something the user can put right, 3 a budget is broken, 130 interrupted.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bertcompress import __version__
from bertcompress.cli.export_commands import export_model
from bertcompress.cli.latency_commands import app as latency_app
from bertcompress.cli.options import (
    EXIT_BUDGET_BROKEN,
    RecipeArgument,
    RunDirOption,
    SetOption,
    exported_files,
    plain_errors,
    whole_numbers,
)
from bertcompress.cli.search_commands import (
    CountsOption,
    LatenciesOption,
    RunArgument,
    evolve_space,
    search_budgets,
)
from bertcompress.cli.supernet_commands import interference, rank
from bertcompress.errors import DataError

STAGES = {
    "teacher": "Prepare the data and fine-tune the teacher, and stop there.",
    "supernet": "Run up to the trained supernet, and stop there.",
    "search": "Run up to the search's winner, and stop there.",
    "student": "Run up to the distilled winner and baseline, and stop there.",
    "export": "Run up to the exported and verified ONNX files, and stop there.",
    "report": "Run what is missing, and write the report again.",
}

app = typer.Typer(
    name="bertcompress",
    help="Find, train, export and time the best small BERT that fits your latency and parameter budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bertcompress {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def _resume_command(command: str, recipe: str, run_dir: Path | None, overrides: list[str]) -> str:
    where = [] if run_dir is None else ["--run-dir", str(run_dir)]
    sets = [word for override in overrides for word in ("--set", override)]
    return shlex.join(["bertcompress", command, recipe, *where, *sets])


def _run_until(command: str, recipe: str, run_dir: Path | None, overrides: list[str] | None) -> None:
    """Run the flow up to the stage `command` (all of it for `run`); print the table of its report."""
    until = None if command == "run" else command
    overrides = overrides or []
    with plain_errors(_resume_command(command, recipe, run_dir, overrides)):
        from bertcompress.recipe import load_recipe

        # Before the import of torch: a bad recipe is refused at once, and nothing is written.
        loaded = load_recipe(recipe, overrides)
        folder = run_dir or Path("runs") / loaded.name

        from rich.console import Console

        from bertcompress.pipeline import run_recipe
        from bertcompress.training.processes import is_first

        console = Console()
        result = run_recipe(loaded, folder, until, console=console)
    if not is_first():
        return
    if until not in (None, "report"):
        typer.echo(f"{command}: finished in {folder}")
        return

    from bertcompress.report import print_summary

    print_summary(result.report, console)
    typer.echo(f"Report: {result.report_path}")
    if not result.budgets_met:
        broken = [budget["name"] for budget in result.report["budgets"] if not budget["met"]]
        typer.echo(f"Broken: {', '.join(broken)}; the exported file does not fit its budget.", err=True)
        raise typer.Exit(EXIT_BUDGET_BROKEN)


def _flow_command(command: str) -> Callable[[str, Path | None, list[str] | None], None]:
    def run_flow(recipe: RecipeArgument, run_dir: RunDirOption = None, overrides: SetOption = None) -> None:
        _run_until(command, recipe, run_dir, overrides)

    return run_flow


app.command("run", help="Run a recipe: from the teacher to the benchmarked ONNX files and the report.")(
    _flow_command("run")
)
for _stage, _help in STAGES.items():
    if _stage != "search":
        app.command(_stage, help=_help)(_flow_command(_stage))


@app.command(help=STAGES["search"] + " With several budgets: a winner for each, from one supernet.")
def search(
    run: RunArgument,
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    latency_ms: LatenciesOption = None,
    num_parameters: CountsOption = None,
) -> None:
    if latency_ms is None and num_parameters is None and not Path(run).is_dir():
        _run_until("search", run, run_dir, overrides)
    else:
        search_budgets(run, run_dir, overrides or [], latency_ms, num_parameters)


app.add_typer(latency_app, name="latency")
app.command("export-model")(export_model)
app.command("interference")(interference)
app.command("rank")(rank)
app.command("evolve-space")(evolve_space)


@app.command()
def validate(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Check a recipe without running it, and hold it, its data and its teacher against each other."""
    with plain_errors():
        from bertcompress.recipe import load_recipe

        loaded = load_recipe(recipe, overrides or [])

        # Not before: a bad recipe is refused without torch.
        from bertcompress.pipeline.agreement import validate_recipe

        unchecked = validate_recipe(loaded)
    typer.echo(f"{recipe} is valid: {loaded.name}. {loaded.description}".rstrip())
    for line in unchecked:
        typer.echo(f"Not checked: {line}")


@app.command()
def recipes() -> None:
    """List the recipes that ship, a line each."""
    with plain_errors():
        from bertcompress.recipe import list_recipes

        described = list_recipes()
    width = max(map(len, described), default=0)
    for name, description in described.items():
        typer.echo(f"{name:{width}}  {description}")


@app.command()
def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Your data: a csv, tsv, json, jsonl or parquet file, a folder, or package:NAME.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The recipe to write. (default: NAME.yaml)", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a commented recipe for your data, with the text and label columns guessed."""
    with plain_errors():
        from bertcompress.recipe.template import recipe_name, render_recipe

        path = output or Path(f"{recipe_name(data)}.yaml")
        if path.exists() and not force:
            raise DataError(f"{path}: exists already; choose another name with --output, or add --force")
        if not path.parent.is_dir():
            raise DataError(
                f"{path}: the folder {path.parent} does not exist; make it, or choose another --output"
            )

        from bertcompress.data.guess import guess_columns
        from bertcompress.data.notices import suitability
        from bertcompress.sources.data import load_source

        loaded = load_source(data)
        guess = guess_columns(data, loaded.splits["train"])
        notices = suitability(loaded, guess.text_columns, guess.label_column)
        text = render_recipe(
            str(Path(data).resolve()) if Path(data).exists() else data,
            text_columns=guess.text_columns,
            label_column=guess.label_column,
            max_length=guess.max_length,
            reasons=guess.reasons,
        )
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written: {error.strerror}; choose another --output"
            ) from error
    typer.echo("\n".join([f"Wrote {path}. Guessed:", *(f"  {reason}" for reason in guess.reasons)]))
    for notice in notices:
        typer.echo(f"Note: {notice}", err=True)
    typer.echo(f"Next: {shlex.join(['bertcompress', 'run', str(path)])}")


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print benchmark rows as a table; a percentile that the repeats cannot support is a dash."""
    from rich.console import Console
    from rich.table import Table

    keys = (
        "model",
        "precision",
        "batch_size",
        "sequence_length",
        "num_threads",
        "p50_ms",
        "p95_ms",
        "p99_ms",
    )
    table = Table(*keys, "throughput_per_s", "noisy")
    for row in rows:
        values = (row.get(key) for key in (*keys, "throughput_per_s"))
        cells = (
            "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
            for value in values
        )
        table.add_row(*cells, "noisy" if row.get("noisy") else "")
    Console().print(table)


@app.command()
def benchmark(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="An exported model's folder (it holds .onnx files).")
    ],
    against: Annotated[
        Path | None, typer.Option(help="A second folder, timed in turn with the first.")
    ] = None,
    provider: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch_sizes: Annotated[str, typer.Option(help="Rows a call.")] = "1,8",
    sequence_lengths: Annotated[str, typer.Option(help="Tokens a row.")] = "32,128",
    threads: Annotated[str, typer.Option(help="Threads of a session.")] = "1,2",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the result as JSON.")
    ] = None,
) -> None:
    """Time exported models with ONNX Runtime: percentiles and throughput by batch, sequence and threads."""
    with plain_errors():
        contenders = exported_files([folder] if against is None else [folder, against])
        shapes = whole_numbers(batch_sizes), whole_numbers(sequence_lengths), whole_numbers(threads)

        from bertcompress.latency.benchmark import benchmark as time_contenders

        result = time_contenders(
            contenders,
            batch_sizes=shapes[0],
            sequence_lengths=shapes[1],
            num_threads=shapes[2],
            provider=provider,
        )
    _print_rows(result["rows"])
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
