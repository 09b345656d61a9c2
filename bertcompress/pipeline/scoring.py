"""What scores a child in search: its loss on some validation rows, with the supernet's weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import load

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.files import hash_file, hash_inputs
from bertcompress.measure.machine import num_cpus
from bertcompress.pipeline.run import Run
from bertcompress.search import ScoreMany
from bertcompress.search.evaluators import EVALUATORS
from bertcompress.search.launched import assist, lead
from bertcompress.space import Child, SearchSpace
from bertcompress.supernet.evaluation import SupernetEvaluator
from bertcompress.supernet.network import SuperBert
from bertcompress.tasks.text_classification import TextClassification
from bertcompress.training.processes import num_processes

MIB = 2**20
SCORES = "scores"  # the folder inside the search stage's


def sample_rows(split: TokenizedSplit, num_rows: int, seed: int) -> TokenizedSplit:
    """A seeded sample of a split, the same on every call."""
    rows = random.Random(seed).sample(range(len(split)), min(num_rows, len(split)))
    return split.select(sorted(rows))


@dataclass(frozen=True)
class MakeDevLoss:
    """All that a process or machine needs to score children, by value: called there, it gives the score.

    `weights` is a safetensors file's content. `num_threads` limits torch in a process that is one of several.
    """

    space: SearchSpace
    weights: bytes
    split: TokenizedSplit
    task: TextClassification
    limit_bytes: int
    num_threads: int | None = None

    def __call__(self) -> Callable[[Child], float]:
        """Loss of a child on the split; children that share a prefix share its hidden states."""
        if self.num_threads is not None:
            torch.set_num_threads(self.num_threads)
        supernet = SuperBert(self.space)
        supernet.load_state_dict(load(self.weights))
        evaluator = SupernetEvaluator(supernet, self.split, limit_bytes=self.limit_bytes)
        return lambda child: self.task.loss(evaluator.logits(child).numpy(), self.split.labels)


def open_evaluator(run: Run) -> AbstractContextManager[ScoreMany]:
    """The recipe's evaluator on the trained supernet; the memory bound is shared out among its workers.

    Under `accelerate launch` its processes score instead, those other than the first in `assist_scoring`.
    """
    chosen = run.recipe.search
    if num_processes() > 1:
        return lead(_make_dev_loss(run, num_processes()))
    num_workers = 1 if chosen.evaluator == "inline" else chosen.num_workers
    num_threads = max(1, num_cpus() // num_workers) if chosen.evaluator == "processes" else None
    return EVALUATORS[chosen.evaluator](_make_dev_loss(run, num_workers, num_threads), num_workers)


def assist_scoring(run: Run) -> None:
    """In a process of `accelerate launch` other than the first: score until its search ends."""
    assist(_make_dev_loss(run, num_processes()), PartialState().process_index)


def _make_dev_loss(run: Run, num_workers: int, num_threads: int | None = None) -> MakeDevLoss:
    chosen = run.recipe.search
    return MakeDevLoss(
        run.space,
        run.path("supernet", "supernet.safetensors").read_bytes(),
        sample_rows(run.student_splits["validation"], chosen.max_validation_rows, run.recipe.seed),
        run.task,
        chosen.cache_mib * MIB // num_workers,
        num_threads,
    )


def scores_path(run: Run) -> Path:
    """The file of scores by placed child that all searches on this supernet share.

    It is named by all that a score depends on, so that it may outlive a killed search and a changed budget;
    files of other names are deleted.
    """
    chosen = run.recipe.search
    inputs = {
        "supernet": hash_file(run.path("supernet", "supernet.safetensors")),
        "validation": hash_file(run.path(run.student_stage, "validation.safetensors")),
        "max_validation_rows": chosen.max_validation_rows,
        "seed": run.recipe.seed,
    }
    folder = run.path("search", SCORES)
    path = folder / f"{hash_inputs(inputs)[:16]}.json"
    for other in folder.glob("*.json"):
        if other != path:
            other.unlink()
    return path
