"""Distill the winner, and the hand-designed baseline that it is held against."""

from __future__ import annotations

import itertools
import math

from bertcompress.pipeline.evaluation import checks, metrics_of
from bertcompress.pipeline.operator_costs import baseline_operators
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.settings import checkpoint_every
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.stages.search import winner_child
from bertcompress.pipeline.supernets import load_supernet, started_supernet
from bertcompress.space import Child, SearchSpace, canonical
from bertcompress.supernet import SuperBert, extract
from bertcompress.training.distill import DistillLoss, DistillWeights, distill
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import FitSettings, num_epoch_steps, seeded

MOST_BASELINE_LAYERS = 12
STUDENT_ROLES = ("winner", "baseline")  # each a folder of the stage


def distill_students(run: Run) -> None:
    """Distill the winner from the supernet's weights and the baseline from the teacher's, settings alike."""
    _distill(run, "winner", load_supernet(run), winner_child(run))
    if run.recipe.student.baseline:
        child = uniform_baseline(run)
        space = SearchSpace(run.space.dimensions, tuple((operator,) for operator in child))
        with seeded(run.recipe.seed) as rng:
            started = started_supernet(run, space, rng)
        _distill(run, "baseline", started, child)


def _distill(run: Run, role: str, supernet: SuperBert, child: Child) -> None:
    chosen = run.recipe.student
    student = extract(supernet, child)
    per_epoch = num_epoch_steps(run.student_splits["train"], chosen.batch_size)
    settings = FitSettings(
        per_epoch * chosen.epochs,
        chosen.batch_size,
        chosen.learning_rate,
        checkpoint_every=checkpoint_every(per_epoch * chosen.epochs),
    )
    weights = DistillWeights(chosen.distill_weight, chosen.temperature, chosen.hidden_weight)
    with seeded(run.recipe.seed) as rng, TrainingLog(run.path("student", role), role, run.console) as log:
        distill(
            student,
            run.student_splits["train"],
            DistillLoss(run.targets, weights),
            settings,
            rng=rng,
            log=log,
            checks=checks(run, run.student_splits["validation"], every=per_epoch, patience=chosen.patience),
            embedding_factor=chosen.embedding_learning_rate_factor,
        )
    student.requires_grad_(True)
    names = dict(enumerate(run.task.label_names))
    student.config.id2label, student.config.label2id = names, {name: index for index, name in names.items()}
    student.save_pretrained(run.path("student", role, "model"))
    run.folder.write_json(f"student/{role}/metrics.json", metrics_of(run, student, run.student_splits))


def uniform_baseline(run: Run) -> Child:
    """A hand-designed BERT of equal layers within the budgets: the one nearest to the winner's cost.

    When none fits, it is the one that breaks the budgets least, and the report says so.
    """
    attentions, feed_forwards = baseline_operators(run)
    layers = itertools.product(attentions, feed_forwards)
    candidates = [layer * depth for layer in layers for depth in range(1, MOST_BASELINE_LAYERS + 1)]
    winner = run.cost_of(canonical(winner_child(run)))

    def distance(child: Child) -> float:
        pairs = zip(run.cost_of(child).values, winner.values, strict=True)
        return sum(abs(math.log(ours / theirs)) for ours, theirs in pairs if ours and theirs)

    return min(candidates, key=lambda child: (run.budgets.overshoot(run.cost_of(child)), distance(child)))


STAGE = Stage("student", ("student",), ("search",), distill_students, STUDENT_ROLES, distill_students)
