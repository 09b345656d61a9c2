"""Fine-tune the teacher where it has no head, and keep its answers on the training split."""

from __future__ import annotations

import random

from transformers import BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.pipeline.evaluation import checks, metrics_of
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.settings import checkpoint_every
from bertcompress.pipeline.stage import TRAINING_FILES, Stage
from bertcompress.training.distill import teacher_targets
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import FitSettings, num_epoch_steps, seeded
from bertcompress.training.teacher import fine_tune, has_head, load_config, load_teacher


def train_teacher(run: Run) -> None:
    """Fine-tune the teacher where it has no head, report it, keep its answers on the training split."""
    split = run.splits["train"]
    headed = has_head(load_config(run.teacher_location), run.task.label_names)
    with seeded(run.recipe.seed) as rng:
        teacher = load_teacher(run.teacher_location, run.task.label_names)
        if not headed:
            _fine_tune(run, teacher, split, rng)
    run.folder.write_json("teacher/metrics.json", metrics_of(run, teacher, run.splits))
    teacher.save_pretrained(run.path("teacher", "model"))
    run.tokenizer.save_pretrained(run.path("teacher", "model"))
    teacher_targets(teacher, split).save(run.path("teacher", "targets.safetensors"))


def _fine_tune(
    run: Run, teacher: BertForSequenceClassification, split: TokenizedSplit, rng: random.Random
) -> None:
    chosen = run.recipe.teacher
    per_epoch = num_epoch_steps(split, chosen.batch_size)
    settings = FitSettings(
        per_epoch * chosen.epochs,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.warmup_fraction,
        chosen.weight_decay,
        checkpoint_every=checkpoint_every(per_epoch * chosen.epochs),
    )
    with TrainingLog(run.path("teacher"), "teacher", run.console) as log:
        fine_tune(
            teacher,
            split,
            settings,
            rng=rng,
            log=log,
            checks=checks(
                run, run.splits["validation"], every=max(1, per_epoch // 2), patience=chosen.epochs * 2
            ),
            train_embeddings=chosen.train_embeddings,
        )


STAGE = Stage("teacher", ("teacher", "seed"), ("data",), train_teacher, TRAINING_FILES, train_teacher)
