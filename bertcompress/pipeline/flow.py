"""The whole flow: stages in order, each skipped when its inputs have not changed since it was finished."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import logging as transformers_logging

from bertcompress import __version__
from bertcompress.files import hash_file, hash_inputs, read_json
from bertcompress.pipeline import STAGE_NAMES, RunResult
from bertcompress.pipeline.agreement import check_teacher, check_texts, fitting_benchmark
from bertcompress.pipeline.launched import follow, join_launch
from bertcompress.pipeline.outcome import budgets_met
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.sources import Sources
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.stages import (
    alternatives,
    benchmark,
    data,
    export,
    latency,
    report,
    search,
    student,
    supernet,
    teacher,
    transfer,
    vocabulary,
)
from bertcompress.recipe import Recipe
from bertcompress.sources.data_files import local_files
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.processes import broadcast

STAGES: tuple[Stage, ...] = (
    data.STAGE,
    vocabulary.STAGE,
    latency.STAGE,
    teacher.STAGE,
    transfer.STAGE,
    supernet.STAGE,
    search.STAGE,
    student.STAGE,
    alternatives.STAGE,
    export.STAGE,
    benchmark.STAGE,
    report.STAGE,
)


def run_stages(
    recipe: Recipe, run_dir: Path, until: str | None, sources: Sources | None, *, console: Console | None
) -> RunResult:
    """What `run_recipe` promises, once the first process has checked the run's sources; others have None.

    Raises:
        BertCompressError: anything else that the user can put right.
    """
    last = STAGE_NAMES.index(until) if until else len(STAGES) - 1
    join_launch()
    quieten_transformers()
    if sources is None:
        follow(recipe, run_dir, [(stage.name, stage.on_other_ranks) for stage in STAGES[: last + 1]])
        return RunResult({}, True, None)
    asked, recipe = recipe, fitting_benchmark(recipe, sources.teacher_location)
    run = Run(recipe, RunFolder(run_dir), console, sources)
    if recipe != asked:
        lengths = ", ".join(map(str, recipe.benchmark.sequence_lengths))
        run.say(f"benchmark.sequence_lengths: {lengths}, as the teacher has no positions for the default's")
    inputs = _inputs_of(run, STAGES[: last + 1])
    # Before a folder is made, and before anything in an existing one is touched.
    _check_agreement(run, inputs)
    with run.folder.lock():
        run.folder.write_text("recipe.yaml", recipe.to_yaml())
        for stage in STAGES[: last + 1]:
            # Asked for by name, the report is written again: this version may tell more than the one before.
            _run_stage(run, stage, inputs[stage.name], again=stage.name == until == "report")
    if STAGES[last].name != "report":
        return RunResult({}, True, None)
    told = read_json(run.path("report", "report.json"))
    return RunResult(told, budgets_met(told), run.path("report", "report.html"))


def quieten_transformers() -> None:
    """One set of progress bars is enough: ours."""
    transformers_logging.disable_progress_bar()


def _value_at(values: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return values[section][name] if name else values[section]


def _inputs_of(run: Run, stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
    """What every stage is made from, by its name: of the recipe, of files, and of the stages before it."""
    values, files = run.recipe.model_dump(mode="json"), _hash_files(run)
    inputs: dict[str, dict[str, Any]] = {}
    for stage in stages:
        inputs[stage.name] = {
            "before": [hash_inputs(inputs[need]) for need in stage.needs] or {"version": __version__},
            "recipe": {key: _value_at(values, key) for key in stage.keys},
            "files": files.get(stage.name, {}),
        }
    return inputs


def _hash_files(run: Run) -> dict[str, dict[str, Any]]:
    """Hashes of the files that a stage reads, by the stage's name; a Hub's data set stands for itself."""
    chosen, theirs = run.recipe.data, run.teacher_files
    start = run.recipe.search.start_distribution
    data_files = [hash_file(path) for path in local_files(chosen.source, chosen.files)]
    return {
        "data": {"data": data_files, "teacher": theirs["inputs"]},
        "teacher": {"teacher": theirs["weights"]},
        "search": {} if start is None else {"start_distribution": hash_file(Path(start))},
    }


def _check_agreement(run: Run, inputs: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold recipe, data and teacher against each other; say which files of a used teacher have changed."""
    made_anew = [name for name, each in inputs.items() if not run.folder.is_finished(name, each)]
    if "data" in made_anew:
        check_texts(run.teacher_location, run.prepared)
    label_names = (run.prepared if "data" in made_anew else run).task.label_names
    check_teacher(run.recipe, run.teacher_location, label_names, weights="teacher" in made_anew)
    if changed := teacher.changed_files(run):
        run.say(
            f"teacher: {', '.join(changed)} in {run.teacher_location} changed since it was used here; "
            "what was made from it is made anew"
        )


def _run_stage(run: Run, stage: Stage, inputs: dict[str, Any], *, again: bool = False) -> None:
    if not again and run.folder.is_finished(stage.name, inputs):
        run.say(f"{stage.name}: done before, kept")
        broadcast(False)
        return
    run.say(f"[bold]{stage.name}[/bold]")
    start = time.monotonic()
    folder = run.folder.begin(stage.name, keep=stage.resumes_from, caches=stage.caches, inputs=inputs)
    broadcast(True)
    stage.make(run)
    for checkpoint in folder.rglob(CHECKPOINT_NAME):
        checkpoint.unlink()
    run.folder.mark_finished(stage.name, inputs, time.monotonic() - start)
