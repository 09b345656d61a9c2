"""Export teacher, baseline and winner in each precision, verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from bertcompress.data.batches import epoch_batches
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.export.folder import ExportRows, export_folder
from bertcompress.export.optimize import Timer
from bertcompress.export.optimize import timer as interleaved_timer
from bertcompress.export.recommend import Trial
from bertcompress.export.verify import graph_logits
from bertcompress.pipeline.calibration import calibration_rows
from bertcompress.pipeline.roles import deliverable, roles
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.stages.vocabulary import vocabulary_words

NUM_VERIFIED_BATCHES = 4


def export_models(run: Run) -> None:
    """Export teacher, baseline and winner in each precision, verified, with the test metric of each file."""
    # Ids that every model embeds.
    timer = interleaved_timer(run.conditions, vocab_size=run.space.dimensions.vocab_size)
    for role in roles(run):
        run.say(f"export: {role}")
        _export(run, role, timer)


def _export(run: Run, role: str, timer: Timer) -> None:
    taught = role == "teacher"
    splits = run.teacher_splits if taught else run.student_splits
    batches, labels = _in_batches(splits["test"])

    def metric(path: Path) -> float:
        return run.task.evaluate(graph_logits(path, batches), labels)[run.task.metric_name]

    export_folder(
        deliverable(run, role),
        run.tokenizer if taught else run.student_tokenizer,
        run.task.label_names,
        run.path("export", role),
        precisions=run.recipe.export.precisions,
        max_length=run.recipe.data.max_length,
        rows=ExportRows(batches[:NUM_VERIFIED_BATCHES], calibration_rows(run, splits["train"])),
        trial=Trial(timer, metric, run.recipe.export.max_metric_drop, run.conditions.provider),
        about={
            "name": f"{run.recipe.name}: {role}",
            "recipe": run.recipe.name,
            "seed": str(run.recipe.seed),
            "metric": f"{run.task.metric_name} on the test split",
            "p50 at": str(run.conditions),
            **({} if taught else vocabulary_words(run)),
        },
    )


def _in_batches(split: TokenizedSplit) -> tuple[list[dict[str, Tensor]], np.ndarray]:
    """The split in batches by length, and its labels in the same order."""
    indices = epoch_batches(split, 32, None)
    return [split.batch(rows) for rows in indices], split.labels[[row for rows in indices for row in rows]]


STAGE = Stage("export", ("export",), ("student",), export_models)
