"""The stages before any training of a child: data, latency with the budgets' feasibility, teacher."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from transformers import BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit, tokenize
from bertcompress.data.vocabulary import Vocabulary, trim_vocabulary
from bertcompress.errors import BudgetError, DataError
from bertcompress.pipeline.costs import cost_function, speedups, wanted_budgets
from bertcompress.pipeline.operator_costs import operator_table
from bertcompress.pipeline.run import SPLITS, Run, table_file
from bertcompress.pipeline.timing import measure_whole
from bertcompress.search import check_feasible
from bertcompress.training.distill import teacher_targets
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import (
    Checks,
    FitSettings,
    num_epoch_steps,
    seeded,
    validation_metrics,
)
from bertcompress.training.teacher import fine_tune, has_head, load_config, load_teacher

MIN_TRAIN_ROWS = 16


def prepare_data(run: Run) -> None:
    """Check, split and tokenise the texts; what was dropped is in report.json."""
    prepared, task = run.prepared, run.prepared.task
    rows = {name: len(prepared.splits[name]) for name in SPLITS}
    if rows["train"] < MIN_TRAIN_ROWS:
        raise DataError(f"data: {rows['train']} training rows are left; at least {MIN_TRAIN_ROWS} are needed")
    for name in SPLITS:
        split = tokenize(prepared.splits[name], run.tokenizer, task, run.recipe.data.max_length)
        split.save(run.path("data", f"{name}.safetensors"))
    run.folder.write_json("data/report.json", {"rows": rows, **prepared.report})
    described = {
        "text_columns": list(task.text_columns),
        "label_column": task.label_column,
        "label_names": list(task.label_names),
    }
    run.folder.write_json("data/task.json", described)


def choose_vocabulary(run: Run) -> None:
    """Trim the vocabulary to the training texts', where the recipe asks; every split is cut into it anew.

    vocabulary.json holds the teacher's ids of the kept tokens, and by split how many rows are cut otherwise,
    and into how many tokens, unknown ones counted too, before and after.
    """
    if run.recipe.space.vocabulary == "full":
        return
    trimmed = trim_vocabulary(run.tokenizer, np.unique(run.splits["train"].input_ids).tolist())
    trimmed.tokenizer.save_pretrained(run.path("vocabulary", "tokenizer"))
    texts = {}
    for name in SPLITS:
        split = tokenize(run.prepared.splits[name], trimmed.tokenizer, run.task, run.recipe.data.max_length)
        split.save(run.path("vocabulary", f"{name}.safetensors"))
        texts[name] = _cut_otherwise(run.splits[name], split, trimmed)
    described = {"kept": trimmed.kept.tolist(), "of": len(run.tokenizer), "texts": texts}
    run.folder.write_json("vocabulary/vocabulary.json", described)
    run.say(f"vocabulary: {len(trimmed.kept):,} of {len(run.tokenizer):,} tokens kept")


def _cut_otherwise(theirs: TokenizedSplit, ours: TokenizedSplit, trimmed: Vocabulary) -> dict[str, int]:
    """How many rows the trimmed tokenizer cuts into other pieces, and unknown tokens now and before."""
    before = (theirs.input_ids[a:b] for a, b in pairwise(theirs.offsets))
    after = (trimmed.kept[ours.input_ids[a:b]] for a, b in pairwise(ours.offsets))
    changed = sum(not np.array_equal(*rows) for rows in zip(before, after, strict=True))
    unknown = trimmed.unknown_id
    return {
        "rows": len(ours),
        "rows_cut_otherwise": changed,
        "tokens": len(ours.input_ids),
        "tokens_before": len(theirs.input_ids),
        "unknown_tokens": int((ours.input_ids == unknown).sum()),
        "unknown_tokens_before": int((theirs.input_ids == trimmed.kept[unknown]).sum()),
    }


def settle_latency(run: Run) -> None:
    """Measure the teacher, fit the operator costs, turn speedups into milliseconds, prove that a child fits.

    All of it at every condition that the recipe names a latency for.

    Raises:
        BudgetError: no child fits; names the smallest reachable values. Nothing has been trained by then.
    """
    teacher_ms, tables = {}, {}
    for name, conditions in run.latency_conditions.items():
        teacher = run.teacher_architecture
        teacher_ms[name] = measure_whole([teacher], conditions)[teacher.name]
        tables[name] = operator_table(run, conditions=conditions)
    budgets, asked = wanted_budgets(run.recipe, teacher_ms), speedups(run.recipe)
    cost_of = cost_function(run.recipe, run.space.dimensions, tables)
    try:
        feasible = check_feasible(run.space, cost_of, budgets, random.Random(run.recipe.seed))
    except BudgetError as error:
        if not asked:
            raise
        words = [
            f"{name}: {_speedup_words(asked[name])} the teacher's {teacher_ms[name]:.3g} ms" for name in asked
        ]
        raise BudgetError("\n  ".join([str(error), *words])) from error
    for name, table in tables.items():
        run.folder.write_json(f"latency/{table_file(name)}", table.to_dict())
    settled = {
        "budgets": budgets.to_list(),
        "speedups": asked,
        "teacher_ms": teacher_ms,
        "conditions": {name: str(conditions) for name, conditions in run.latency_conditions.items()},
        "feasible_child": [operator.name for operator in feasible],
    }
    run.folder.write_json("latency/budgets.json", settled)


def _speedup_words(asked: tuple[float | None, float | None]) -> str:
    words = [f"at {side} {bound:g}" for side, bound in zip(("least", "most"), asked, strict=True) if bound]
    return f"speedup of {' and '.join(words)} over"


def metrics_of(run: Run, model: Any, splits: Mapping[str, TokenizedSplit]) -> dict[str, dict[str, float]]:
    """Metrics of a model on the validation split (which chose it) and the test split (which is reported)."""
    return {
        name: validation_metrics(model, splits[name], run.task.evaluate) for name in ("validation", "test")
    }


def checks(run: Run, validation: TokenizedSplit, *, every: int, patience: int) -> Checks:
    """Checks of a whole model by the task's metric on the validation split in the model's tokens."""

    def evaluate(model: Any) -> Mapping[str, float]:
        return validation_metrics(model, validation, run.task.evaluate)

    return Checks(evaluate, every, run.task.metric_name, patience)


def checkpoint_every(num_steps: int) -> int:
    """Steps between checkpoints: a killed training loses at most a twentieth of it."""
    return max(1, num_steps // 20)


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
