"""Fine-tune the teacher where it has no head, and keep its answers on the training split."""

from __future__ import annotations

import random

from safetensors.torch import save_file
from transformers import BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.files import read_json
from bertcompress.pipeline.evaluation import checks, metrics_of
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.settings import teacher_settings
from bertcompress.pipeline.stage import TRAINING_FILES, Stage
from bertcompress.training.distill import teacher_targets
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import model_logits, num_epoch_steps, seeded
from bertcompress.training.teacher import fine_tune, has_head, load_config, load_teacher

DESCRIBED = "teacher.json"


def changed_files(run: Run) -> list[str]:
    """The names of the teacher's files that are not what they were when this run's teacher was made."""
    path = run.path("teacher", DESCRIBED)
    if not path.is_file():
        return []
    before, now = read_json(path), run.teacher_files
    if before["source"] != run.recipe.teacher.source:
        return []
    old, new = ({**files["inputs"], **files["weights"]} for files in (before["files"], now))
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def train_teacher(run: Run) -> None:
    """Fine-tune the teacher where it has no head, report it, keep its answers on the training split.

    teacher.json says where it came from, whether its head is new, and what its files were.
    """
    split = run.teacher_splits["train"]
    headed = has_head(load_config(run.teacher_location), run.task.label_names)
    if not headed:
        run.say("teacher: has no head for this task; a new head is fine-tuned")
    with seeded(run.recipe.seed) as rng:
        teacher = load_teacher(run.teacher_location, run.task.label_names)
        if not headed:
            _fine_tune(run, teacher, split, rng)
    logits = {name: model_logits(teacher, run.teacher_splits[name]) for name in ("validation", "test")}
    save_file(logits, str(run.path("teacher", "logits.safetensors")))
    run.folder.write_json("teacher/metrics.json", metrics_of(run, teacher, run.teacher_splits))
    described = {
        "source": run.recipe.teacher.source,
        "location": run.teacher_location,
        "new_head": not headed,
        "files": run.teacher_files,
    }
    run.folder.write_json(f"teacher/{DESCRIBED}", described)
    teacher.save_pretrained(run.path("teacher", "model"))
    run.tokenizer.save_pretrained(run.path("teacher", "model"))
    teacher_targets(teacher, split).save(run.path("teacher", "targets.safetensors"))


def _fine_tune(
    run: Run, teacher: BertForSequenceClassification, split: TokenizedSplit, rng: random.Random
) -> None:
    chosen = run.recipe.teacher
    per_epoch = num_epoch_steps(split, chosen.batch_size)
    settings = teacher_settings(chosen, per_epoch * chosen.epochs)
    with TrainingLog(run.path("teacher"), "teacher", run.console) as log:
        fine_tune(
            teacher,
            split,
            settings,
            rng=rng,
            log=log,
            checks=checks(
                run, run.teacher_splits["validation"], every=max(1, per_epoch // 2), patience=chosen.patience
            ),
            train_embeddings=chosen.train_embeddings,
        )


STAGE = Stage("teacher", ("teacher", "seed"), ("data",), train_teacher, TRAINING_FILES, train_teacher)
