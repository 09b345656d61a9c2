"""The whole flow: stages in order, each skipped when its inputs have not changed since it was finished."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import logging as transformers_logging

from bertcompress import __version__
from bertcompress.data.vocabulary import check_trimmable
from bertcompress.files import hash_file, hash_inputs, read_json
from bertcompress.pipeline import RunResult
from bertcompress.pipeline.launched import follow, join_launch
from bertcompress.pipeline.outcome import budgets_met
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.sources import Sources
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.stages import (
    benchmark,
    data,
    export,
    latency,
    report,
    search,
    student,
    supernet,
    teacher,
    vocabulary,
)
from bertcompress.recipe import Recipe
from bertcompress.sources.data_files import local_files
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.processes import broadcast
from bertcompress.training.teacher import has_head, load_config

STAGES: tuple[Stage, ...] = (
    data.STAGE,
    vocabulary.STAGE,
    latency.STAGE,
    teacher.STAGE,
    supernet.STAGE,
    search.STAGE,
    student.STAGE,
    export.STAGE,
    benchmark.STAGE,
    report.STAGE,
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)


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
    run = Run(recipe, RunFolder(run_dir), console)
    run.teacher_location = sources.teacher_location
    if sources.prepared is not None:
        run.prepared = sources.prepared
        # What does not suit the teacher is said before a folder is made.
        has_head(load_config(run.teacher_location), run.prepared.task.label_names)
        if recipe.space.vocabulary == "corpus":
            check_trimmable(run.tokenizer)
    with run.folder.lock():
        run.folder.write_text("recipe.yaml", recipe.to_yaml())
        start = {"version": __version__, "data_files": _hash_data_files(run)}
        inputs: dict[str, dict[str, Any]] = {}
        values = recipe.model_dump(mode="json")
        for stage in STAGES[: last + 1]:
            inputs[stage.name] = {
                "before": [hash_inputs(inputs[need]) for need in stage.needs] or start,
                "recipe": {key: _value_at(values, key) for key in stage.keys},
                **(_hash_start(run) if stage.name == "search" else {}),
            }
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


def _hash_data_files(run: Run) -> list[str]:
    """Hashes of the recipe's local data files; a Hub id stands for itself."""
    chosen = run.recipe.data
    return [hash_file(path) for path in local_files(chosen.source, chosen.files)]


def _hash_start(run: Run) -> dict[str, str]:
    """The hash of the distribution that the search starts from, where it starts from one."""
    start = run.recipe.search.start_distribution
    return {} if start is None else {"start_distribution": hash_file(Path(start))}


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
