"""Compress a teacher in one call: a recipe's whole run, and what it delivered as typed values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from bertcompress.errors import LaunchError
from bertcompress.pipeline import run_recipe
from bertcompress.recipe import load_recipe
from bertcompress.training.processes import num_processes

Overrides: TypeAlias = Mapping[str, Any] | Sequence[str]
TABLE_WIDTH = 80


@dataclass(frozen=True)
class DeliveredModel:
    """One exported model of a run.

    `folder` holds its ONNX files, tokenizer, weights and model card. `metrics` are those of the test split by
    name, such as "accuracy"; `validation_metrics` those of the split that chose the model.
    """

    role: str
    folder: Path
    architecture: str
    num_parameters: int
    metrics: dict[str, float]
    validation_metrics: dict[str, float]


@dataclass(frozen=True)
class CompressionResult:
    """What a run delivered: its models, whether the winner keeps the budgets, and the verdict on it in words.

    `baseline` is the best hand-designed network that was trained in full and lost, where there is one.
    `report` is the whole of report.json; `report_path` is the HTML page.
    """

    teacher: DeliveredModel
    winner: DeliveredModel
    baseline: DeliveredModel | None
    verdict: str
    budgets_met: bool
    report_path: Path
    report: dict[str, Any]

    def table(self) -> str:
        """Return what `bertcompress run` prints at its end, as plain text: verdict, budgets and models."""
        from bertcompress.report import print_summary

        text = StringIO()
        print_summary(self.report, Console(file=text, width=TABLE_WIDTH))
        return text.getvalue()


def compress(
    recipe: str | Path,
    run_dir: str | Path | None = None,
    overrides: Overrides = (),
    *,
    console: Console | None = None,
) -> CompressionResult:
    """Run a recipe from its teacher to the benchmarked ONNX files, and return what it delivered.

        result = compress("reviews-mini", "runs/mine", {"budget.speedup": 8})
        result.winner.folder, result.winner.metrics["accuracy"], result.verdict

    `recipe` is a file, or the name of a recipe that ships. `run_dir` is runs/NAME by default. `overrides`
    change keys of the recipe: a mapping, or a list of "key=value". Progress goes to `console`, if given. The
    same call goes on with a run that was interrupted, and returns at once from a finished one.

    Raises:
        BertCompressError: anything the user can put right; what earlier stages made is kept.
        LaunchError: it is called in one of several processes, where `run_recipe` is the function to call.
    """
    if num_processes() > 1:
        raise LaunchError("compress: runs in one process; in a launch of several call run_recipe")
    loaded = load_recipe(recipe, override_words(overrides))
    folder = Path("runs") / loaded.name if run_dir is None else Path(run_dir)
    finished = run_recipe(loaded, folder, console=console)
    assert finished.report_path is not None
    models = {row["role"]: _delivered(row, folder) for row in finished.report["models"]}
    return CompressionResult(
        teacher=models["teacher"],
        winner=models["winner"],
        baseline=models.get("baseline"),
        verdict=finished.report["verdict"],
        budgets_met=finished.budgets_met,
        report_path=finished.report_path,
        report=finished.report,
    )


def override_words(overrides: Overrides) -> list[str]:
    """Return overrides as the words of `--set`.

    >>> override_words({"budget.speedup": 8, "space.operators": ["mha3", "identity"]})
    ['budget.speedup=8', 'space.operators=["mha3", "identity"]']
    """
    if isinstance(overrides, Mapping):
        # What JSON writes, YAML reads as the same value.
        return [f"{key}={json.dumps(value, default=str)}" for key, value in overrides.items()]
    return list(overrides)


def _delivered(row: Mapping[str, Any], run_dir: Path) -> DeliveredModel:
    return DeliveredModel(
        role=row["role"],
        folder=run_dir / "export" / row["role"],
        architecture=row["architecture"],
        num_parameters=row["num_parameters"],
        metrics=row["metrics"]["test"],
        validation_metrics=row["metrics"]["validation"],
    )
