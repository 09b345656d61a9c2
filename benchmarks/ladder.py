"""What each part of distillation is worth: one factor changed at a time, several seeds, one architecture.

    python benchmarks/ladder.py reviews-mini --seeds 0,1,2
    python benchmarks/ladder.py sst2-small --set data.source=data/glue/sst2 --seeds 0,1,2

The recipe's data and teacher are made once; every step then trains one architecture with the keys that the
step names. Accuracy and fidelity are told on validation and test together. Validation keeps the best state of
each training, and chooses nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from record import RESULTS, provenance, write_record
from rich.console import Console

from bertcompress.pipeline import run_recipe
from bertcompress.pipeline.entrant_training import EntrantTraining, train_entrant
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.recipe import load_recipe
from bertcompress.search.race import Entrant
from bertcompress.space import Operator

# Each step in words, with the keys that it changes of the recipe; the first is the flow as it was.
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("rows alone, 4 passes", ("student.views=0", "student.epochs=4")),
    ("rows alone, 12 passes", ("student.views=0", "student.epochs=12")),
    ("views, as many steps as 12 passes", ("student.views=5", "student.epochs=2")),
    ("views, twice the steps", ("student.views=11", "student.epochs=2")),
    ("the same without hidden states", ("student.views=11", "student.epochs=2", "student.hidden_weight=0")),
    ("the same, embeddings at the full rate", (
        "student.views=11", "student.epochs=2", "student.embedding_learning_rate_factor=1",
    )),
    ("the same, embeddings of full width", (
        "student.views=11", "student.epochs=2", "space.embedding_size=384",
    )),
)  # fmt: skip


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a recipe's file, or the name of one that ships")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--architecture", default="conv3-conv3", help="the student (default: conv3-conv3)")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the students (default: 0,1,2)")
    parser.add_argument("--steps", default=None, help="numbers of the steps to run, from 0 (default: all)")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/benchmarks/ladder"))
    parser.add_argument("--name", help="the record's name (default: ladder-RECIPE)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def train_step(recipe: str, overrides: list[str], folder: Path, child: str, seed: int) -> dict[str, Any]:
    """The metrics of one student, on validation and test rows together."""
    checked = load_recipe(recipe, overrides)
    run_recipe(checked, folder, until="transfer", console=Console())
    entrant = Entrant(tuple(Operator.parse(name) for name in child.split("-")), "ladder")
    run = Run(checked, RunFolder(folder), Console())
    number = len(list(folder.glob("ladder-*")))
    training = EntrantTraining(entrant, 1.0, seed, folder / f"ladder-{number}")
    train_entrant(run, training, console=run.console)
    result = training.result()
    assert result is not None
    rows = [len(run.teacher_splits[name]) for name in ("validation", "test")]
    metrics = [result["metrics"][name] for name in ("validation", "test")]
    return {
        key: sum(n * found[key] for n, found in zip(rows, metrics, strict=True)) / sum(rows)
        for key in ("accuracy", "agreement", "divergence")
    }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of every figure."""
    return {
        key: {
            "mean": statistics.mean(row[key] for row in rows),
            "sd": statistics.stdev(row[key] for row in rows) if len(rows) > 1 else None,
        }
        for key in rows[0]
    }


def main() -> None:
    """Train every step with every seed, and write the record."""
    arguments = parse_arguments()
    seeds = [int(word) for word in arguments.seeds.split(",")]
    wanted = range(len(STEPS)) if arguments.steps is None else map(int, arguments.steps.split(","))
    rows = []
    for number in wanted:
        words, keys = STEPS[number]
        changed = [*arguments.overrides, *keys]
        found = [
            train_step(arguments.recipe, changed, arguments.run_dir, arguments.architecture, seed)
            for seed in seeds
        ]
        row = {"step": words, "changes": list(keys), "seeds": found, **summarize(found)}
        rows.append(row)
        print(f"{words}: accuracy {row['accuracy']['mean']:.4f}, agreement {row['agreement']['mean']:.4f}")
    folder = Run(load_recipe(arguments.recipe, arguments.overrides), RunFolder(arguments.run_dir), None)
    record = {
        "name": arguments.name or f"ladder-{Path(arguments.recipe).stem}",
        **provenance("ladder.py", sys.argv[1:], seeds),
        "architecture": arguments.architecture,
        "teacher": teacher_metrics(folder),
        "steps": rows,
    }
    write_record(arguments.results / f"{record['name']}.json", record)


def teacher_metrics(run: Run) -> dict[str, float]:
    """The teacher's accuracy on validation and test."""
    return {
        name: float((run.teacher_logits[name].argmax(axis=1) == run.teacher_splits[name].labels).mean())
        for name in ("validation", "test")
    }


if __name__ == "__main__":
    main()
