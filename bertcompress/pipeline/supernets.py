"""A run's supernet: started from the teacher, loaded when it is trained, and the loss of its children."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from safetensors.torch import load_file

from bertcompress.data.batches import epoch_batches
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.pipeline.run import Run
from bertcompress.space import Child, SearchSpace
from bertcompress.supernet import SuperBert, measure_importance, warm_start
from bertcompress.supernet.train import child_logits
from bertcompress.training.loop import Batch

NUM_IMPORTANCE_BATCHES = 8


def started_supernet(run: Run, space: SearchSpace, rng: random.Random) -> SuperBert:
    """A supernet of `space`, started from the teacher unless the recipe asks for random weights."""
    supernet = SuperBert(space)
    if run.recipe.supernet.warm_start == "teacher":
        batches = _importance_batches(run.student_splits["train"], rng)
        importance = measure_importance(run.starting_model, batches)
        warm_start(supernet, run.starting_model, importance=importance)
    return supernet


def _importance_batches(split: TokenizedSplit, rng: random.Random) -> Iterator[Batch]:
    for indices in epoch_batches(split, 32, rng)[:NUM_IMPORTANCE_BATCHES]:
        yield split.batch(indices)


def load_supernet(run: Run) -> SuperBert:
    """The trained supernet."""
    supernet = SuperBert(run.space)
    supernet.load_state_dict(load_file(str(run.path("supernet", "supernet.safetensors"))))
    return supernet


def dev_loss(run: Run, supernet: SuperBert, split: TokenizedSplit) -> Callable[[Child], float]:
    """Loss of a child on `split` with the shared weights: decides on anchor replacement."""

    def loss(child: Child) -> float:
        logits = child_logits(supernet, child, split)
        return run.task.evaluate(logits.numpy(), split.labels)["loss"]

    return loss
