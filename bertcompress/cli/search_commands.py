"""`bertcompress search` with several budgets, and `evolve-space`: a better space to search."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from bertcompress.cli.options import EXIT_BUDGET_BROKEN, RunDirOption, SetOption, plain_errors
from bertcompress.files import write_atomically

MANY = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NUMBER = re.compile(r"([0-9][0-9_]*\.?[0-9]*(?:e[+-]?[0-9]+)?)([kmg]?)", re.IGNORECASE)

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A recipe, as for `run`; with several budgets also the folder of a trained run."
    ),
]
LatenciesOption = Annotated[
    str | None,
    typer.Option("--latency-ms", help="Latency limits to search under, such as 1,2,4.", show_default=False),
]
CountsOption = Annotated[
    str | None,
    typer.Option(
        "--num-parameters", help="Parameter limits to search under, such as 4M,8_000_000.", show_default=False
    ),
]


def quantities(text: str) -> tuple[float, ...]:
    """The numbers of an option such as `--num-parameters 4M,4_000_000,4e6`; k, M and G are powers of 1000."""
    found = [_NUMBER.fullmatch(word.strip()) for word in text.split(",")]
    numbers = [float(match[1]) * MANY[match[2].lower()] for match in found if match]
    if len(numbers) < len(found) or not all(number > 0 for number in numbers):
        raise typer.BadParameter(f"{text!r} is not a list of numbers above 0; write for example 1,2.5 or 4M")
    return tuple(numbers)


def search_budgets(
    named: str, run_dir: Path | None, overrides: list[str], latencies: str | None, counts: str | None
) -> None:
    """Search under every combination of the limits; a recipe is run up to its supernet first."""
    asked = {"latency_ms": latencies, "num_parameters": counts}
    limits = {name: quantities(text) for name, text in asked.items() if text is not None}
    where = [] if run_dir is None else ["--run-dir", str(run_dir)]
    sets = [("--set", override) for override in overrides]
    options = [("--" + name.replace("_", "-"), text) for name, text in asked.items() if text is not None]
    words = itertools.chain(["bertcompress", "search", named], where, *sets, *options)
    with plain_errors(shlex.join(words)):
        is_folder = Path(named).is_dir()
        if not is_folder:
            from bertcompress.recipe import load_recipe

            recipe = load_recipe(named, overrides)

        from rich.console import Console

        from bertcompress.pipeline import run_recipe

        console, folder = Console(), Path(named)
        if not is_folder:
            folder = run_dir or Path("runs") / recipe.name
            run_recipe(recipe, folder, "supernet", console=console)

        from bertcompress.pipeline.many_budgets import combinations, open_run, search_many
        from bertcompress.report.budget_table import print_budget_table

        own = [override for override in overrides if is_folder]
        run = open_run(folder, own, console)
        with run.folder.lock():
            found = search_many(run, combinations(run, limits))
    print_budget_table(found, console)
    typer.echo(f"Written: {folder / 'search' / 'budgets.json'} and budgets.md")
    if not any(row["winner"] for row in found["combinations"]):
        raise typer.Exit(EXIT_BUDGET_BROKEN)


def evolve_space(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A recipe, or the folder of a run.")],
    run_dir: RunDirOption = None,
    overrides: SetOption = None,
    generations: Annotated[int, typer.Option(min=1, help="Trainings, each followed by a selection.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of a generation.")] = 400,
    paths: Annotated[int, typer.Option(min=2, help="Operators of a position that run side by side.")] = 2,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the evolved recipe here.", show_default=False),
    ] = None,
) -> None:
    """Evolve the operators of every position, and write the recipe whose space they are (AutoSpace).

    Operators whose learnt fitness is low, or that waste time on this machine, give way to mutations of the
    fit ones. A killed command goes on where it was.
    """
    with plain_errors(shlex.join(["bertcompress", "evolve-space", run])):
        from rich.console import Console

        from bertcompress.pipeline.trained import refresh_report, trained_run

        console = Console()
        opened = trained_run(run, run_dir, overrides or [], until="teacher", console=console)

        from bertcompress.pipeline.evolved_space import RECIPE
        from bertcompress.pipeline.stages.evolve_space import EvolutionSettings
        from bertcompress.pipeline.stages.evolve_space import evolve_space as evolve
        from bertcompress.report import print_findings

        with opened.folder.lock():
            result = evolve(opened, EvolutionSettings(generations, steps, paths))
            refresh_report(opened)
        written = opened.folder.path / RECIPE
        if output is not None:
            write_atomically(output, written.read_bytes())
            written = output
    print_findings({"evolution": result}, console)
    typer.echo(f"Wrote {written}; go on with: {shlex.join(['bertcompress', 'run', str(written)])}")
