"""`bertcompress interference`: what a run's children do to each other, before and after the training."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bertcompress.data.batches import epoch_batches
from bertcompress.diagnostics.interference import ProbedChain, measure_interference
from bertcompress.diagnostics.interference_summary import summarize_interference, summarize_mixing
from bertcompress.diagnostics.intervention import measure_mixing
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.settings import supernet_weights
from bertcompress.pipeline.supernets import load_supernet, started_supernet
from bertcompress.space import Child, Operator
from bertcompress.supernet import SuperBert
from bertcompress.training.distill import DistillLoss
from bertcompress.training.loop import Batch, model_inputs, seeded

NUM_BATCHES = 8


def supernet_loss(run: Run) -> DistillLoss:
    """The loss that the recipe's supernet is trained with, on rows of the training split."""
    return DistillLoss(run.targets, supernet_weights(run.recipe.supernet))


def training_batches(run: Run, num_batches: int, batch_size: int, seed: int) -> list[Batch]:
    """Full batches of the training split, as the training draws them."""
    split = run.student_splits["train"]
    batches = epoch_batches(split, min(batch_size, len(split) // 2), random.Random(seed))
    full = [rows for rows in batches if len(rows) == len(max(batches, key=len))]
    return [split.batch(rows) for rows in full[:num_batches]]


def probed_supernet(run: Run, supernet: SuperBert) -> ProbedChain[Operator, Batch]:
    """The supernet as the measurement sees it: its loss, unpadded rows, children that training may draw."""
    loss = supernet_loss(run)
    supernet.eval()

    def loss_of(child: Child, batch: Batch) -> Tensor:
        return loss(supernet(**model_inputs(batch), architecture=child).logits, batch)

    def accepts(child: Child) -> bool:
        return not run.recipe.supernet.sample_within_budget or run.budgets.fits(run.cost_of(child))

    return ProbedChain(
        run.space.choices,
        supernet.module_at,
        loss_of,
        kind_of=lambda operator: operator.kind,
        rows_of=lambda activation, batch: activation[batch["attention_mask"].bool()],
        accepts=accepts,
    )


def measure(run: Run, *, num_pairs: int, batch_size: int) -> dict[str, Any]:
    """Interference and interventions at the warm start and after training, the same pairs in both.

    `num_pairs` is at each number of differing positions; the interventions have as many pairs in all.
    """
    start, seed = time.perf_counter(), run.recipe.seed
    batches = training_batches(run, NUM_BATCHES, batch_size, seed)
    result: dict[str, Any] = {
        "strategy": run.recipe.supernet.strategy,
        "steps": run.recipe.supernet.steps,
        "num_pairs": num_pairs,
        "batch_size": len(batches[0]["labels"]),
        "seed": seed,
    }
    for when in ("before", "after"):
        if when == "after":
            supernet = load_supernet(run)
        else:
            with seeded(seed) as rng:
                supernet = started_supernet(run, run.space, rng)
        run.say(f"interference: {when} training")
        result[when] = measure_weights(run, supernet, batches, num_pairs=num_pairs, seed=seed)
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def measure_weights(
    run: Run, supernet: SuperBert, batches: Sequence[Batch], *, num_pairs: int, seed: int
) -> dict[str, Any]:
    """Interference and interventions with the weights that `supernet` has."""
    chain = probed_supernet(run, supernet)
    comparisons = measure_interference(chain, batches, num_pairs=num_pairs, rng=random.Random(seed))
    mixed = measure_mixing(chain, batches, num_pairs=num_pairs, rng=random.Random(seed))
    mixing = summarize_mixing(mixed, seed=seed)
    return summarize_interference(comparisons, seed=seed) | {"mixing": mixing}
