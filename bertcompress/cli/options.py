"""What the commands share: exit codes, the recipe's argument and options, errors as messages.

Loads nothing heavy, so that every command can stand on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from bertcompress.errors import BertCompressError, DataError

EXIT_REFUSED = 2
EXIT_BUDGET_BROKEN = 3
EXIT_INTERRUPTED = 130

RecipeArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe's file, or the name of one that ships (see `recipes`)."),
]
RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", help="Where the run lives. (default: runs/NAME)", show_default=False),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one key, e.g. budget.latency_ms=3; may be repeated."
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The folder of a run, or a recipe, run as far as needed first."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Also write the result as JSON.", show_default=False)
]


@contextmanager
def plain_errors(resume: str | None = None) -> Iterator[None]:
    """Turn what the user can put right into a message and an exit code; a bug keeps its traceback."""
    try:
        yield
    except BertCompressError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(EXIT_REFUSED) from None
    except KeyboardInterrupt:
        kept = f" Finished stages are kept; go on with: {resume}" if resume else ""
        typer.echo(f"\nInterrupted.{kept}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def say_new_word(old: str, new: str) -> None:
    """Tell on the error stream what a command of before is called now."""
    typer.echo(f"`bertcompress {old}` is now `bertcompress {new}`.", err=True)


def write_json(result: Mapping[str, Any], output: Path | None) -> None:
    """Write a result where the user asked for a file."""
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def whole_numbers(text: str) -> tuple[int, ...]:
    """The numbers of an option such as `--batch-sizes 1,8`."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers above 0; write for example 1,8")
    return tuple(int(word) for word in words)


def exported_files(folders: list[Path]) -> dict[str, Path]:
    """Every ONNX file of the folders, by folder and file; by the whole path where two folders share a name.

    Raises:
        DataError: a folder is missing or holds no ONNX file.
    """
    problems = [f"{folder}: holds no .onnx file" for folder in folders if not any(folder.glob("*.onnx"))]
    if problems:
        raise DataError.from_problems(
            "exported folders", [*problems, "give folders that a run or `bertcompress export-model` wrote"]
        )
    names = [folder.resolve().name for folder in folders]
    shown = names if len(set(names)) == len(names) else [str(folder) for folder in folders]
    return {
        f"{name}/{path.name}": path
        for name, folder in zip(shown, folders, strict=True)
        for path in sorted(folder.glob("*.onnx"))
    }
