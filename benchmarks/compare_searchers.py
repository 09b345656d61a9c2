"""Compare all searchers, on networks that were each trained alone and on a trained supernet.

    python benchmarks/compare_searchers.py make-table RUN    # each network of a small space, distilled alone
    python benchmarks/compare_searchers.py score-table RUN   # each network of RUN's space, by its supernet
    python benchmarks/compare_searchers.py study             # all searchers on both tables: JSON and figure

RUN is a run folder that `bertcompress run` has filled, at least to its supernet. Tables are resumable: what
was trained or scored is kept in RUN.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, provenance, write_record
from searcher_study import draw_figure, in_words, run_searcher, summarise
from tabular_space import TabularSpace, make_rows, networks

from bertcompress.data.batches import epoch_batches
from bertcompress.diagnostics.children_alone import train_children
from bertcompress.files import write_atomically
from bertcompress.pipeline.evaluation import checks
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.scoring import sample_rows
from bertcompress.pipeline.settings import student_settings, student_weights
from bertcompress.pipeline.supernets import load_supernet
from bertcompress.recipe import load_recipe
from bertcompress.search import SEARCHERS
from bertcompress.space import Child, SearchSpace
from bertcompress.supernet import SuperBert, extract, measure_importance, warm_start
from bertcompress.supernet.train import child_logits
from bertcompress.training.distill import DistillLoss, distill
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import num_epoch_steps, seeded, validation_metrics

TABLE_OPERATORS = ("mha3", "ffn384", "conv3", "conv5", "identity")
NUM_IMPORTANCE_BATCHES = 8
SCRIPT = Path(__file__).name


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make-table", help="distill every network of a small space by itself")
    make.add_argument("run", type=Path)
    make.add_argument("--num-positions", type=int, default=3)
    make.add_argument("--operators", nargs="+", default=TABLE_OPERATORS)
    make.add_argument("--epochs", type=int, default=2, help="passes over the training rows (default: 2)")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--workers", type=int, default=1, help="of Ray, a thread each")
    make.add_argument("--output", type=Path, default=RESULTS / "tabular-space.json")
    score = commands.add_parser("score-table", help="score every network of the run's space by its supernet")
    score.add_argument("run", type=Path)
    score.add_argument("--max-validation-rows", type=int, default=512)
    score.add_argument("--output", type=Path, default=RESULTS / "supernet-space.json")
    study = commands.add_parser("study", help="run all searchers on the tables")
    study.add_argument("tables", nargs="*", type=Path, help="default: both tables in results/")
    study.add_argument("--seeds", type=int, default=20, help="seeds 0, 1, ... (default: 20 of them)")
    study.add_argument("--share-evaluated", type=float, default=0.5, help="of the networks that fit")
    study.add_argument("--max-evaluations", type=int, default=120)
    study.add_argument("--population-size", type=int, default=24, help="at most a third of the evaluations")
    study.add_argument("--share-fitting", type=float, default=0.7, help="of the networks, in each budget")
    study.add_argument(
        "--output", type=Path, default=RESULTS / "searchers.json", help="the figure goes beside it"
    )
    return parser.parse_args(words)


def open_run(path: Path) -> Run:
    """The run in a folder, read by its own recipe."""
    return Run(load_recipe(path / "recipe.yaml"), RunFolder(path), None)


def make_table(arguments: argparse.Namespace) -> None:
    """Distill every network of the small space from the run's teacher, the settings those of its students."""
    run = open_run(arguments.run)
    train = DistillAlone(arguments.run, arguments.num_positions, tuple(arguments.operators), arguments.epochs)
    space = train.space(run)
    folder = arguments.run / "-".join(
        ["alone", *train.operators, str(train.num_positions), str(train.epochs)]
    )
    results = train_children(
        dict(networks(space)),
        [arguments.seed],
        train,
        folder,
        workers=arguments.workers,
        on_progress=lambda done, total: print(f"{done} of {total} networks trained", flush=True),
    )
    metrics = {name: found[0]["metrics"] for name, found in results.items()}
    settings = {"score": "validation loss when distilled alone", "epochs": train.epochs}
    _write_table(arguments, run, space, metrics, [arguments.seed], settings)


@dataclass(frozen=True)
class DistillAlone:
    """Trains a network of the small space by itself, for `epochs`, started from the run's teacher.

    Called with a placed child and a seed; a process that calls it keeps what all its trainings share.
    """

    run_folder: Path
    num_positions: int
    operators: tuple[str, ...]
    epochs: int

    def space(self, run: Run) -> SearchSpace:
        return SearchSpace.uniform(run.space.dimensions, self.num_positions, self.operators)

    def __call__(self, child: Child, seed: int) -> dict[str, float]:
        run, supernet = started_supernet(self, seed)
        started = time.process_time()
        chosen, split = run.recipe.student, run.student_splits["train"]
        num_steps = self.epochs * num_epoch_steps(split, chosen.batch_size)
        student = extract(supernet, child)
        with (
            seeded(seed) as rng,
            tempfile.TemporaryDirectory() as folder,
            TrainingLog(Path(folder), "alone", None) as log,
        ):
            distill(
                student,
                split,
                DistillLoss(run.targets, student_weights(chosen)),
                student_settings(chosen, num_steps, checkpoints=False),
                rng=rng,
                log=log,
                checks=checks(run, run.student_splits["validation"], every=num_steps, patience=1),
                embedding_factor=chosen.embedding_learning_rate_factor,
            )
        metrics = validation_metrics(student, run.student_splits["validation"], run.task.evaluate)
        return {**metrics, "cpu_seconds": time.process_time() - started}


@lru_cache(maxsize=1)
def started_supernet(alone: DistillAlone, seed: int) -> tuple[Run, SuperBert]:
    """The run, and the small space's operators as the teacher's weights start them."""
    run = open_run(alone.run_folder)
    split = run.student_splits["train"]
    with seeded(seed) as rng:
        supernet = SuperBert(alone.space(run))
        batches = [split.batch(rows) for rows in epoch_batches(split, 32, rng)[:NUM_IMPORTANCE_BATCHES]]
        warm_start(supernet, run.starting_model, importance=measure_importance(run.starting_model, batches))
    return run, supernet


def score_table(arguments: argparse.Namespace) -> None:
    """Score every network of the run's space by its supernet, on one thread and without prefix reuse."""
    torch.set_num_threads(1)
    run = open_run(arguments.run)
    supernet, rows = load_supernet(run).eval(), arguments.max_validation_rows
    split = sample_rows(run.student_splits["validation"], rows, run.recipe.seed)
    metrics = measure_all(
        run.space,
        lambda child: run.task.loss(child_logits(supernet, child, split).numpy(), split.labels),
        arguments.run / f"supernet-scores-{rows}.json",
    )
    settings = {"score": "validation loss with the supernet's weights", "max_validation_rows": rows}
    _write_table(arguments, run, run.space, metrics, [run.recipe.seed], settings)


def measure_all(
    space: SearchSpace, score: Callable[[Child], float], cache: Path
) -> dict[str, dict[str, float]]:
    """Loss and processor seconds of every network; what the file `cache` holds is not scored again."""
    found: dict[str, dict[str, float]] = json.loads(cache.read_text()) if cache.exists() else {}
    children = dict(networks(space))
    for name, child in children.items():
        if name in found:
            continue
        started = time.process_time()
        loss = score(child)
        found[name] = {"loss": loss, "cpu_seconds": time.process_time() - started}
        write_atomically(cache, json.dumps(found, indent=1).encode())
        if len(found) % 50 == 0:
            print(f"{len(found)} of {len(children)} networks scored", flush=True)
    return found


def _write_table(
    arguments: argparse.Namespace,
    run: Run,
    space: SearchSpace,
    metrics: Mapping[str, Mapping[str, float]],
    seeds: list[int],
    settings: dict[str, Any],
) -> None:
    table = TabularSpace(space, make_rows(space, metrics, run.latency_table.predict_ms))
    record = {
        "name": arguments.output.stem,
        **provenance(SCRIPT, sys.argv[1:], seeds),
        "recipe": run.recipe.name,
        "settings": settings,
        "conditions": str(run.conditions),
        "cpu_seconds": sum(row.cpu_seconds for row in table.rows.values()),
        **table.to_dict(),
    }
    write_record(arguments.output, record)


def study(arguments: argparse.Namespace) -> None:
    """All searchers on all tables with all seeds; says which beat random search."""
    tables = arguments.tables or [RESULTS / "tabular-space.json", RESULTS / "supernet-space.json"]
    seeds = list(range(arguments.seeds))
    summaries = {path.stem: study_table(TabularSpace.read(path), arguments, seeds) for path in tables}
    record = {
        "name": arguments.output.stem,
        **provenance(SCRIPT, sys.argv[1:], seeds),
        "population_size": arguments.population_size,
        "verdicts": [in_words(name, summary) for name, summary in summaries.items()],
        "tables": summaries,
    }
    write_record(arguments.output, record)
    draw_figure(summaries, arguments.output.with_suffix(".png"))
    print("\n".join(record["verdicts"]))


def study_table(table: TabularSpace, arguments: argparse.Namespace, seeds: list[int]) -> dict[str, Any]:
    """The summary of all searchers on one table."""
    budgets = table.budgets(arguments.share_fitting)
    num_fitting = sum(budgets.fits(table.cost_of(child)) for _, child in networks(table.space))
    num_evaluations = min(arguments.max_evaluations, round(arguments.share_evaluated * num_fitting))
    population_size = max(2, min(arguments.population_size, num_evaluations // 3))
    traces = {
        name: [
            run_searcher(
                name,
                table,
                budgets,
                seed=seed,
                num_evaluations=num_evaluations,
                population_size=population_size,
            )
            for seed in seeds
        ]
        for name in SEARCHERS
    }
    best = table.optimum(budgets)
    return {
        "num_networks": len(table.rows),
        "num_fitting": num_fitting,
        "budgets": {b.name: b.upper for b in budgets.limits},
        "population_size": population_size,
        "optimal_architecture": best.architecture,
        **summarise(traces, best.loss),
    }


def main() -> None:
    """Do what the command line asks for."""
    arguments = parse_arguments()
    {"make-table": make_table, "score-table": score_table, "study": study}[arguments.command](arguments)


if __name__ == "__main__":
    main()
