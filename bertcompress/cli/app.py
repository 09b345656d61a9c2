"""The `bertcompress` command: its commands in the order and the groups of the help.

Every heavy import stands inside the command that needs it, so `--help` and a refused recipe answer at once.
Exit codes: 0 done, 2 something the user can put right, 3 a budget is broken, 130 interrupted.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bertcompress import __version__
from bertcompress.cli import old_words
from bertcompress.cli.benchmark import benchmark
from bertcompress.cli.evolve_space import evolve_space
from bertcompress.cli.export_model import export_model
from bertcompress.cli.init import init
from bertcompress.cli.interference import interference
from bertcompress.cli.latency_table import latency_table
from bertcompress.cli.rank import rank
from bertcompress.cli.recipes import recipes
from bertcompress.cli.run import run
from bertcompress.cli.search import search
from bertcompress.cli.validate import validate

GROUPS = {
    "Make a model": (recipes, init, validate, run, search, export_model),
    "Look at one": (benchmark,),
    "Study": (latency_table, interference, rank, evolve_space),
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


for _group, _commands in GROUPS.items():
    for _command in _commands:
        app.command(_command.__name__.replace("_", "-"), rich_help_panel=_group)(_command)
for _stage in old_words.STAGE_WORDS:
    app.command(_stage, hidden=True)(old_words.stage_command(_stage))
app.add_typer(old_words.latency, name="latency", hidden=True)
