"""Warm-start the supernet and train it by the recipe's strategy."""

from __future__ import annotations

import random

from safetensors.torch import save_file

from bertcompress.pipeline.run import Run
from bertcompress.pipeline.scoring import sample_rows
from bertcompress.pipeline.settings import supernet_settings, supernet_weights
from bertcompress.pipeline.stage import TRAINING_FILES, Stage
from bertcompress.pipeline.supernets import dev_loss, started_supernet
from bertcompress.space import Child, Operator
from bertcompress.supernet import SuperBert, nearest_to_teacher
from bertcompress.supernet.alignment import Alignment, Ramp
from bertcompress.supernet.strategy import STRATEGIES, Strategy, StrategySettings
from bertcompress.supernet.train import train_supernet
from bertcompress.training.distill import DistillLoss, embedding_groups, soft_cross_entropy
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import seeded

DEV_BATCH_SIZE = 64


def make_supernet(run: Run) -> None:
    """Warm-start and train the supernet with the recipe's strategy; the anchor is noted."""
    chosen, seed = run.recipe.supernet, run.recipe.seed
    settings = supernet_settings(chosen, chosen.steps)
    loss = DistillLoss(run.targets, supernet_weights(chosen))
    with seeded(seed) as rng, TrainingLog(run.path("supernet"), "supernet", run.console) as log:
        supernet = started_supernet(run, run.space, rng)
        _, anchor = train_supernet(
            supernet,
            run.student_splits["train"],
            loss,
            settings,
            strategy=_strategy(run, supernet),
            parameter_groups=embedding_groups(supernet, 1.0 if chosen.train_embeddings else 0.0),
            rng=rng,
            log=log,
        )
    save_file({name: tensor.contiguous() for name, tensor in supernet.state_dict().items()},
              str(run.path("supernet", "supernet.safetensors")))  # fmt: skip
    described = None if anchor is None else [operator.name for operator in anchor.child]
    replacements = 0 if anchor is None else anchor.num_replacements
    run.folder.write_json("supernet/anchor.json", {"anchor": described, "num_replacements": replacements})


def _strategy(run: Run, supernet: SuperBert) -> Strategy[Operator]:
    """The recipe's strategy: what its words stand for on this space."""
    chosen, space = run.recipe.supernet, run.space
    aligned, temperature = chosen.alignment, chosen.temperature
    dev = sample_rows(
        run.student_splits["validation"], aligned.check_batches * DEV_BATCH_SIZE, run.recipe.seed
    )
    near_teacher = nearest_to_teacher(space, run.teacher_architecture.operators)
    parts = StrategySettings(
        space.choices,
        random.Random(run.recipe.seed),
        accepts=(lambda child: run.budgets.fits(run.cost_of(child)))
        if chosen.sample_within_budget
        else _any_child,
        replaced_positions=chosen.replaced_positions,
        fair_update=chosen.fair_update,
        largest=space.largest(),
        smallest=space.smallest(),
        imitation=lambda ours, theirs: soft_cross_entropy(ours, theirs, temperature),
        alignment=Alignment(
            Ramp(aligned.weight, aligned.start_fraction, aligned.end_fraction),
            inputs=aligned.inputs,
            anchor=near_teacher if aligned.anchor == "teacher" else None,
            dev_loss=dev_loss(run, supernet, dev) if aligned.anchor == "best" else None,
            check_every=aligned.check_every,
            one_row_in=aligned.one_row_in,
        ),
    )
    return STRATEGIES[chosen.strategy](parts)


def _any_child(child: Child) -> bool:
    return True


STAGE = Stage("supernet", ("supernet",), ("latency", "teacher"), make_supernet, TRAINING_FILES, make_supernet)
