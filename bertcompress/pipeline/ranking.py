"""`bertcompress rank`: children of a run's space trained alone, and how its supernet had ranked them."""

from __future__ import annotations

import json
import random
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from bertcompress import __version__
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.diagnostics.children_alone import draw_children, train_children
from bertcompress.diagnostics.proxies import gradient_proxies
from bertcompress.diagnostics.ranking import FEWEST_CHILDREN, Baseline, count_baselines, rank_report
from bertcompress.errors import SpaceError
from bertcompress.files import hash_inputs, read_json
from bertcompress.pipeline.evaluation import checks
from bertcompress.pipeline.interference import supernet_loss, training_batches
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import MANIFEST, RunFolder
from bertcompress.pipeline.scoring import sample_rows
from bertcompress.pipeline.settings import student_settings, student_weights
from bertcompress.pipeline.supernets import dev_loss, load_supernet, started_supernet
from bertcompress.recipe import load_recipe
from bertcompress.search import sampler_within
from bertcompress.space import Child, Operator, canonical, child_name
from bertcompress.supernet import SuperBert, extract
from bertcompress.training.distill import DistillLoss, distill
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import model_inputs, num_epoch_steps, seeded

NUM_PROXY_BATCHES = 2


@dataclass(frozen=True)
class ChildTrainer:
    """Distills one child from the warm start as the run's students are, for `num_steps`; it pickles.

    All children see the same rows in the same order for one seed, and start from the same weights wherever
    they share an operator.
    """

    folder: Path
    num_steps: int

    def __call__(self, child: Child, seed: int) -> dict[str, float]:
        """The child's validation metrics after the last step."""
        run, supernet = _warm_start(self.folder, seed)
        chosen = run.recipe.student
        student = extract(supernet, child)
        with (
            tempfile.TemporaryDirectory(prefix="bertcompress-rank-") as curves,
            seeded(seed) as rng,
            TrainingLog(Path(curves), "child", None) as log,
        ):
            result = distill(
                student,
                run.student_splits["train"],
                DistillLoss(run.targets, student_weights(chosen)),
                student_settings(chosen, self.num_steps, checkpoints=False),
                rng=rng,
                log=log,
                # Once, at the end: a stand-alone result is where training ends, not its luckiest moment.
                checks=checks(run, run.student_splits["validation"], every=self.num_steps, patience=1),
                embedding_factor=chosen.embedding_learning_rate_factor,
            )
        return result.best_metrics


@lru_cache(maxsize=1)
def _warm_start(folder: Path, seed: int) -> tuple[Run, SuperBert]:
    """The run and its untrained supernet; kept, because a process trains many children of one seed."""
    run = Run(load_recipe(str(folder / "recipe.yaml"), []), RunFolder(folder), None)
    with seeded(seed) as rng:
        return run, started_supernet(run, run.space, rng)


def default_steps(run: Run) -> int:
    """Steps of one pass over the training rows."""
    return num_epoch_steps(run.student_splits["train"], run.recipe.student.batch_size)


def rank(
    run: Run, *, num_children: int, seeds: int, steps: int | None, workers: int, within_budget: bool
) -> dict[str, Any]:
    """Train children alone, score them in the supernet and by the baselines, and judge; resumes where it was.

    Raises:
        SpaceError: fewer than five different children were found.
        JobError: a training failed; what is trained is kept.
    """
    start = time.perf_counter()
    num_steps = steps or default_steps(run)
    children = _drawn(run, num_children, within_budget)
    results = train_children(
        {child_name(child): child for child in children},
        range(seeds),
        ChildTrainer(run.folder.path, num_steps),
        _work_folder(run, num_steps),
        workers=workers,
        on_progress=lambda done, total: run.say(f"rank: {done} of {total} trained alone"),
    )
    truth = np.array([[row["metrics"]["loss"] for row in rows] for rows in results.values()])
    report = rank_report(
        [child_name(canonical(child)) for child in children],
        truth,
        _scores(run, load_supernet(run), children),
        _baselines(run, children, truth),
        seed=run.recipe.seed,
    )
    return report | {
        "strategy": run.recipe.supernet.strategy,
        "supernet_steps": run.recipe.supernet.steps,
        "child_steps": num_steps,
        "within_budget": within_budget,
        "accuracy": [[row["metrics"]["accuracy"] for row in rows] for rows in results.values()],
        "child_seconds": round(
            float(np.mean([[r["seconds"] for r in rows] for rows in results.values()])), 2
        ),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _drawn(run: Run, num_children: int, within_budget: bool) -> list[Child]:
    rng = random.Random(run.recipe.seed)
    feasible = tuple(Operator.parse(name) for name in run.latency["feasible_child"])
    fitting = sampler_within(run.space, lambda child: run.budgets.fits(run.cost_of(child)), feasible)
    children = draw_children(fitting if within_budget else run.space.sample, num_children, rng, key=canonical)
    if len(children) < FEWEST_CHILDREN:
        raise SpaceError(
            f"rank: {len(children)} different children found; {FEWEST_CHILDREN} or more are needed: raise "
            "--children, widen the space or the budgets, or rank with --any-size"
        )
    if len(children) < num_children:
        run.say(f"rank: the space has {len(children)} different children, fewer than {num_children}")
    return children


def _work_folder(run: Run, num_steps: int) -> Path:
    """A folder a set of training settings: other settings never read these results."""
    settings = {
        "version": __version__,
        "teacher": read_json(run.folder.path / MANIFEST)["stages"]["teacher"]["inputs_hash"],
        "space": json.loads(run.recipe.space.model_dump_json()),
        "student": json.loads(run.recipe.student.model_dump_json()),
        "warm_start": run.recipe.supernet.warm_start,
        "num_steps": num_steps,
    }
    return run.folder.path / "rank" / hash_inputs(settings)[:16]


def _score_split(run: Run) -> TokenizedSplit:
    """The rows that the search scores children on."""
    return sample_rows(
        run.student_splits["validation"], run.recipe.search.max_validation_rows, run.recipe.seed
    )


def _scores(run: Run, supernet: SuperBert, children: list[Child]) -> np.ndarray:
    loss = dev_loss(run, supernet, _score_split(run))
    return np.array([loss(child) for child in children])


def _baselines(run: Run, children: list[Child], truth: np.ndarray) -> list[Baseline]:
    """What needs no trained supernet; the untrained one is among them."""
    architectures = [run.space.architecture(child) for child in children]
    length = run.recipe.latency.sequence_length
    with seeded(run.recipe.seed) as rng:
        untrained = started_supernet(run, run.space, rng)
    costs = {
        "parameters": [architecture.num_parameters for architecture in architectures],
        "MACs": [architecture.macs(length) for architecture in architectures],
    }
    counted = count_baselines(
        [canonical(child) for child in children],
        truth,
        kind_of=lambda operator: operator.kind,
        costs=costs,
        proxies=supernet_proxies(run, untrained, children),
    )
    return [*counted, Baseline("untrained supernet", _scores(run, untrained, children))]


def supernet_proxies(run: Run, supernet: SuperBert, children: list[Child]) -> dict[str, list[float]]:
    """The zero-cost proxies of children, with the weights that `supernet` has and its loss."""
    loss, student = supernet_loss(run), run.recipe.student
    supernet.eval()

    def loss_of(child: Child, batch: dict[str, Tensor]) -> Tensor:
        return loss(supernet(**model_inputs(batch), architecture=child).logits, batch)

    def weights_of(child: Child) -> list[nn.Parameter]:
        modules = [supernet.module_at(position, operator) for position, operator in enumerate(child)]
        chain = [weight for module in modules if module is not None for weight in module.parameters()]
        return [*chain, *supernet.head.parameters()]

    batches = training_batches(run, NUM_PROXY_BATCHES, student.batch_size, run.recipe.seed)
    return gradient_proxies(children, batches, loss_of=loss_of, weights_of=weights_of)
