"""The whole flow: stages in order, each skipped when its inputs have not changed since it was finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import logging as transformers_logging

from bertcompress import __version__
from bertcompress.data.vocabulary import check_trimmable
from bertcompress.files import hash_file, hash_inputs, read_json
from bertcompress.pipeline import RunResult
from bertcompress.pipeline.compression import (
    STUDENT_ROLES,
    distill_students,
    make_supernet,
    search_children,
)
from bertcompress.pipeline.delivery import budgets_met, export_models, run_benchmark, write_report
from bertcompress.pipeline.launched import follow, join_launch
from bertcompress.pipeline.preparation import (
    choose_vocabulary,
    prepare_data,
    settle_latency,
    train_teacher,
)
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.scoring import SCORES, assist_scoring
from bertcompress.pipeline.sources import Sources
from bertcompress.recipe import Recipe
from bertcompress.sources.data import local_files
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.log import CURVE_NAME, EVENTS_NAME
from bertcompress.training.processes import tell
from bertcompress.training.teacher import has_head, load_config


@dataclass(frozen=True)
class Stage:
    """A step of the flow: what it reads of the recipe, the stages whose results it reads, and what it makes.

    `keys` are the recipe's sections, or single keys as section.key. A stage that was killed finds again what
    it had left under the names in `resumes_from`. `assist` is what the other processes of `accelerate launch`
    do meanwhile; without it they wait. What is named in `caches` outlives a change of inputs too; the stage
    itself sees to what it still holds for.
    """

    name: str
    keys: tuple[str, ...]
    needs: tuple[str, ...]
    make: Callable[[Run], None]
    resumes_from: tuple[str, ...] = ()
    assist: Callable[[Run], None] | None = None
    caches: tuple[str, ...] = ()


TRAINING_FILES = (CHECKPOINT_NAME, CURVE_NAME, EVENTS_NAME)
STAGES = (
    Stage("data", ("task", "data", "seed", "teacher.source"), (), prepare_data),
    Stage("vocabulary", ("space.vocabulary",), ("data",), choose_vocabulary),
    Stage("latency", ("space", "budget", "latency", "seed"), ("vocabulary",), settle_latency),
    Stage("teacher", ("teacher", "seed"), ("data",), train_teacher, TRAINING_FILES, train_teacher),
    Stage("supernet", ("supernet",), ("latency", "teacher"), make_supernet, TRAINING_FILES, make_supernet),
    Stage("search", ("search",), ("supernet",), search_children, (), assist_scoring, (SCORES,)),
    Stage("student", ("student",), ("search",), distill_students, STUDENT_ROLES, distill_students),
    Stage("export", ("export",), ("student",), export_models),
    Stage("benchmark", ("benchmark",), ("export",), run_benchmark),
    Stage("report", ("name", "description"), ("benchmark",), write_report),
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
        follow(recipe, run_dir, [(stage.name, stage.assist) for stage in STAGES[: last + 1]])
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
    data = read_json(run.path("report", "report.json"))
    return RunResult(data, budgets_met(data), run.path("report", "report.html"))


def quieten_transformers() -> None:
    """One set of progress bars is enough: ours."""
    transformers_logging.disable_progress_bar()


def _value_at(values: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return values[section][name] if name else values[section]


def _hash_data_files(run: Run) -> list[str]:
    """Hashes of the recipe's local data files; a Hub id stands for itself."""
    data = run.recipe.data
    return [hash_file(path) for path in local_files(data.source, data.files)]


def _hash_start(run: Run) -> dict[str, str]:
    """The hash of the distribution that the search starts from, where it starts from one."""
    start = run.recipe.search.start_distribution
    return {} if start is None else {"start_distribution": hash_file(Path(start))}


def _run_stage(run: Run, stage: Stage, inputs: dict[str, Any], *, again: bool = False) -> None:
    if not again and run.folder.is_finished(stage.name, inputs):
        run.say(f"{stage.name}: done before, kept")
        tell(False)
        return
    run.say(f"[bold]{stage.name}[/bold]")
    start = time.monotonic()
    folder = run.folder.begin(stage.name, keep=stage.resumes_from, caches=stage.caches, inputs=inputs)
    tell(True)
    stage.make(run)
    for checkpoint in folder.rglob(CHECKPOINT_NAME):
        checkpoint.unlink()
    run.folder.mark_finished(stage.name, inputs, time.monotonic() - start)
