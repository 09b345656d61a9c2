"""What scores a child in search: its loss on some validation rows, with the supernet's weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.files import hash_file, hash_inputs
from bertcompress.pipeline.run import Run
from bertcompress.search import ScoreMany
from bertcompress.search.evaluators import open_scoring
from bertcompress.space import Child, SearchSpace
from bertcompress.supernet.evaluation import SupernetEvaluator
from bertcompress.supernet.network import SuperBert
from bertcompress.tasks.text_classification import TextClassification

MIB = 2**20
SCORES = "scores"  # the folder inside the search stage's


def sample_rows(split: TokenizedSplit, num_rows: int, seed: int) -> TokenizedSplit:
    """A seeded sample of a split, the same on every call."""
    rows = random.Random(seed).sample(range(len(split)), min(num_rows, len(split)))
    return split.select(sorted(rows))


@dataclass(frozen=True)
class MakeDevLoss:
    """All that a process or machine needs to score children, by value: called there, it gives the score.

    `weights` is a safetensors file's content.
    """

    space: SearchSpace
    weights: bytes
    split: TokenizedSplit
    task: TextClassification
    limit_bytes: int

    def __call__(self) -> Callable[[Child], float]:
        """Loss of a child on the split; children that share a prefix share its hidden states."""
        supernet = SuperBert(self.space)
        supernet.load_state_dict(load(self.weights))
        evaluator = SupernetEvaluator(supernet, self.split, limit_bytes=self.limit_bytes)
        return lambda child: self.task.loss(evaluator.logits(child).numpy(), self.split.labels)


def open_evaluator(run: Run) -> AbstractContextManager[ScoreMany]:
    """Open the recipe's evaluator on the trained supernet; its workers share the memory bound."""
    chosen = run.recipe.search
    num_workers = 1 if chosen.evaluator == "inline" else chosen.num_workers
    return open_scoring(_make_dev_loss(run, num_workers), num_workers)


def _make_dev_loss(run: Run, num_workers: int) -> MakeDevLoss:
    chosen = run.recipe.search
    return MakeDevLoss(
        run.space,
        run.path("supernet", "supernet.safetensors").read_bytes(),
        sample_rows(run.student_splits["validation"], chosen.max_validation_rows, run.recipe.seed),
        run.task,
        chosen.cache_mib * MIB // num_workers,
    )


def scores_path(run: Run) -> Path:
    """Return the file of scores by placed child that all searches on this supernet share.

    It is named by all that a score depends on, so that it may outlive a killed search and a changed budget.
    """
    chosen = run.recipe.search
    inputs = {
        "supernet": hash_file(run.path("supernet", "supernet.safetensors")),
        "validation": hash_file(run.path(run.student_stage, "validation.safetensors")),
        "max_validation_rows": chosen.max_validation_rows,
        "seed": run.recipe.seed,
    }
    return run.path("search", SCORES, f"{hash_inputs(inputs)[:16]}.json")


def drop_other_scores(path: Path) -> None:
    """Delete the scores beside `path`: they are of another supernet, or of other rows."""
    for other in path.parent.glob("*.json"):
        if other != path:
            other.unlink()
