"""Distill one entrant for one rung of the race: in this process, or in a worker that opens the run itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console

from bertcompress.files import read_json, write_json
from bertcompress.model import CompactBertForSequenceClassification
from bertcompress.pipeline.evaluation import fidelity_checks, metrics_of
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.settings import student_settings, student_weights
from bertcompress.pipeline.supernets import load_supernet, started_supernet
from bertcompress.recipe import load_recipe
from bertcompress.search.race import Entrant
from bertcompress.space import IDENTITY, Child, SearchSpace, canonical
from bertcompress.supernet import extract
from bertcompress.training.distill import DistillLoss, distill
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import num_epoch_steps, seeded
from bertcompress.training.processes import is_first

RESULT = "result.json"
MODEL = "model"
CHECKS_A_TRAINING = 8


@dataclass(frozen=True)
class EntrantTraining:
    """One training: of whom, for which share of the steps, from which seed, and the folder that it fills."""

    entrant: Entrant
    share: float
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """The training in words, for progress and errors."""
        return f"{self.entrant.name}, {self.share:.0%} of a training, seed {self.seed}"

    def result(self) -> dict[str, Any] | None:
        """Return what the training came to: score, seed and metrics; None where it is not finished."""
        path = self.folder / RESULT
        return read_json(path) if path.exists() else None


class TrainInWorker:
    """Run trainings of the run at `path` in a process of their own; it is opened once a process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, training: EntrantTraining) -> None:
        train_entrant(_opened(self._path), training, console=None)


@lru_cache(maxsize=1)
def _opened(path: Path) -> Run:
    return Run(load_recipe(path / "recipe.yaml"), RunFolder(path), None)


def train_entrant(run: Run, training: EntrantTraining, *, console: Console | None) -> None:
    """Distill the entrant, and write its model and result; a training that was killed goes on."""
    chosen, folder = run.recipe.student, training.folder
    folder.mkdir(parents=True, exist_ok=True)
    rows, targets = run.transfer
    num_steps = max(1, round(num_epoch_steps(rows, chosen.batch_size) * chosen.epochs * training.share))
    student = start_student(run, training.entrant.child, training.seed)
    with seeded(training.seed) as rng, TrainingLog(folder, training.entrant.name, console) as log:
        distill(
            student,
            rows,
            DistillLoss(targets, student_weights(chosen)),
            student_settings(chosen, num_steps),
            rng=rng,
            log=log,
            checks=fidelity_checks(run, every=max(1, num_steps // CHECKS_A_TRAINING)),
            embedding_factor=chosen.embedding_learning_rate_factor,
        )
    if is_first():
        _name_labels(run, student)
        student.save_pretrained(folder / MODEL)
        metrics = metrics_of(run, student, run.student_splits)
        score = -metrics["validation"]["fidelity"]
        write_json(folder / RESULT, {"score": score, "seed": training.seed, "metrics": metrics})


def start_student(run: Run, child: Child, seed: int) -> CompactBertForSequenceClassification:
    """Return the child as it starts: from the teacher, or else from the supernet where that holds it."""
    if run.recipe.supernet.warm_start == "none" and (placed := _placed(run.space, child)) is not None:
        return extract(load_supernet(run), placed)
    space = SearchSpace(run.space.dimensions, tuple((operator,) for operator in child or (IDENTITY,)))
    with seeded(seed) as rng:
        return extract(started_supernet(run, space, rng), child or (IDENTITY,))


def _placed(space: SearchSpace, child: Child) -> Child | None:
    """The chain on the first positions and identities after it, where the space has that."""
    placed = (*child, *(IDENTITY,) * (len(space.choices) - len(child)))
    fits = len(placed) == len(space.choices) and all(
        operator in choice for operator, choice in zip(placed, space.choices, strict=True)
    )
    return placed if fits and canonical(placed) == child else None


def _name_labels(run: Run, student: CompactBertForSequenceClassification) -> None:
    student.requires_grad_(True)
    names = dict(enumerate(run.task.label_names))
    student.config.id2label, student.config.label2id = names, {name: index for index, name in names.items()}
