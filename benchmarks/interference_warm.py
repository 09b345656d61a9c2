"""Interference and ranking where users are: warm-started from a teacher, and distilled; results/NAME.json.

    python benchmarks/interference_warm.py --work runs/interference-reviews --equal-time
    python benchmarks/interference_warm.py --work runs/interference-mrpc --name interference-mrpc \\
        --data PATH/TO/mrpc --pair sentence1 sentence2 --set data.max_length=64
    python benchmarks/interference_warm.py --work runs/interference-reviews --minutes 10     # and again

The recipe is reviews-mini, its space and teacher included, with shorter texts, fewer rows and frozen
embeddings; --set changes any key. Data, teacher and the teacher's answers are made once a work folder.
Supernets are trained by the code of `bertcompress run --until supernet`, children by that of `bertcompress
rank`; budgets play no part. One thread.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranking_study import Setting, World, add_arguments, publish_study

from bertcompress.diagnostics.children_alone import draw_children
from bertcompress.files import hash_inputs
from bertcompress.pipeline.interference import NUM_BATCHES, measure_weights, training_batches
from bertcompress.pipeline.ranking import ChildTrainer, supernet_proxies
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.stages.data import prepare_data
from bertcompress.pipeline.stages.supernet import make_supernet
from bertcompress.pipeline.stages.teacher import train_teacher
from bertcompress.pipeline.stages.vocabulary import choose_vocabulary
from bertcompress.pipeline.supernets import dev_loss, load_supernet, started_supernet
from bertcompress.recipe import Recipe, load_recipe
from bertcompress.space import Child, canonical, child_name
from bertcompress.training.loop import seeded

MOST_CHILDREN = 40
MADE_ONCE = {"data": prepare_data, "vocabulary": choose_vocabulary, "teacher": train_teacher}
SMALL = (
    "data.max_length=32",
    "data.max_train_rows=4000",
    "supernet.sample_within_budget=false",
    "student.embedding_learning_rate_factor=0",
)


@dataclass(frozen=True)
class Warm:
    """The world of this study; `steps` are of a supernet of length 1."""

    work: Path
    recipe: str
    overrides: tuple[str, ...]
    steps: int
    child_steps: int
    num_pairs: int

    def load(self, *more: str) -> Recipe:
        return load_recipe(self.recipe, [*self.overrides, *more])

    def facts(self) -> dict[str, Any]:
        recipe = self.load().model_dump(mode="json")
        sections = ("task", "data", "teacher", "space", "supernet", "student")
        return {
            "steps": self.steps,
            "child_steps": self.child_steps,
            "num_pairs": self.num_pairs,
            **{name: recipe[name] for name in sections},
        }

    def prepared(self) -> Run:
        """The run with data and teacher, made where they are not."""
        recipe = self.load()
        values = recipe.model_dump(mode="json")
        key = hash_inputs(
            {name: values[name] for name in ("task", "data", "teacher", "space", "student", "supernet")}
        )
        run = Run(recipe, RunFolder(self.work / f"run-{key[:12]}"), None)
        for name, make in MADE_ONCE.items():
            with run.folder.lock():
                if not run.folder.is_finished(name, {}):
                    run.folder.begin(name)
                    run.folder.write_text("recipe.yaml", recipe.to_yaml())
                    start = time.monotonic()
                    make(run)
                    run.folder.mark_finished(name, {}, time.monotonic() - start)
        return run

    def children(self, count: int) -> list[Child]:
        space = self.prepared().space
        return draw_children(space.sample, count, random.Random(0), key=canonical)

    def costs(self, children: Sequence[Child]) -> dict[str, list[float]]:
        run = self.prepared()
        architectures = [run.space.architecture(child) for child in children]
        return {
            "parameters": [architecture.num_parameters for architecture in architectures],
            "MACs": [architecture.macs(run.recipe.data.max_length) for architecture in architectures],
        }

    def train_child(self, child: Child, seed: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        return ChildTrainer(self.prepared().folder.path, self.child_steps)(child, seed)

    def train_supernet(self, setting: Setting, seed: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        base = self.prepared()
        steps = round(self.steps * setting.length)
        with tempfile.TemporaryDirectory(prefix="supernet-", dir=self.work) as folder:
            recipe = self.load(f"seed={seed}", *_overrides(setting, steps))
            run = Run(recipe, RunFolder(Path(folder)), None)
            for name in MADE_ONCE:
                run.path(name).symlink_to(base.path(name).resolve())
            start = time.process_time()
            if steps:
                run.folder.begin("supernet")
                make_supernet(run)
                supernet = load_supernet(run)
            else:
                with seeded(seed) as rng:
                    supernet = started_supernet(run, run.space, rng)
            seconds = time.process_time() - start
            shutil.rmtree(run.path("supernet"), ignore_errors=True)
            loss = dev_loss(run, supernet, run.student_splits["validation"])
            children = self.children(MOST_CHILDREN)
            batches = training_batches(run, NUM_BATCHES, recipe.supernet.batch_size, seed=0)
            found: dict[str, Any] = {
                "steps": steps,
                "cpu_seconds": round(seconds, 3),
                "scores": {child_name(child): loss(child) for child in children},
                "constant_loss": _constant_loss(run),
                "interference": measure_weights(run, supernet, batches, num_pairs=self.num_pairs, seed=0),
            }
            if steps:
                return found
            proxies = supernet_proxies(run, supernet, children)
        names = list(map(child_name, children))
        named = {key: dict(zip(names, values, strict=True)) for key, values in proxies.items()}
        return found | {"proxies": named}


def _overrides(setting: Setting, steps: int) -> list[str]:
    """The setting in a recipe's words."""
    if not steps:
        return []
    return [
        f"supernet.strategy={setting.strategy}",
        f"supernet.steps={steps}",
        f"supernet.replaced_positions={setting.replaced_positions}",
        f"supernet.fair_update={setting.fair_update}",
        f"supernet.alignment.weight={setting.weight}",
        f"supernet.alignment.anchor={setting.anchor}",
        f"supernet.alignment.start_fraction={setting.start_fraction}",
        f"supernet.alignment.end_fraction={setting.end_fraction}",
        f"supernet.alignment.check_every={max(1, steps // 15)}",
    ]


def _constant_loss(run: Run) -> float:
    """Validation loss of answering every text by the frequencies of the training labels."""
    counts = np.bincount(run.student_splits["train"].labels, minlength=run.task.num_labels) + 1.0
    return float(-np.log(counts / counts.sum())[run.student_splits["validation"].labels].mean())


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, "interference-reviews")
    parser.add_argument("--recipe", default="reviews-mini")
    parser.add_argument(
        "--data", help="other data than the recipe's: a folder of jsonl files with a label column"
    )
    parser.add_argument("--pair", nargs=2, metavar="COLUMN", help="its two text columns")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=600, help="steps of a supernet (default: 600)")
    parser.add_argument("--child-steps", type=int, default=250, help="of a child alone (default: 250)")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of children a distance (default: 12)")
    return parser.parse_args(words)


def make_world(arguments: argparse.Namespace) -> World:
    """The world of the switches; later overrides win."""
    other = []
    if arguments.data:
        columns = arguments.pair or ["text"]
        other = [f"data.source={arguments.data}", "data.where={}", "task.label_names=null"]
        other.append(f"task.text_columns={json.dumps(columns)}")
    overrides = (*SMALL, *other, *arguments.overrides)
    return Warm(
        arguments.work, arguments.recipe, overrides, arguments.steps, arguments.child_steps, arguments.pairs
    )


def main() -> None:
    """Train what is missing, and write record, figures and tables."""
    words = sys.argv[1:]
    arguments = parse_arguments(words)
    arguments.work.mkdir(parents=True, exist_ok=True)
    publish_study(make_world(arguments), arguments, "interference_warm.py", words)


if __name__ == "__main__":
    main()
