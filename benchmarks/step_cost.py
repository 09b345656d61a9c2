"""What each strategy's training step costs over a plain step of the same children: results/step-cost.json.

    python benchmarks/step_cost.py

A plain step trains one child with `fit`'s own update: forward, backward, clipping, AdamW. In every round each
strategy makes one update, and then, or before it (at random), plain steps train the very children of that
update on the same batch; so neighbours of the machine slow both alike. CPU time of one thread is read, which
does not count them at all. The anchor is a child drawn anew each round (as good a guess as any for the best
child), or the largest one, as when the teacher is the anchor. Anchor replacement is timed apart and spread
over the steps between two checks.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from record import RESULTS, provenance, write_record
from torch import Tensor
from torch.nn import functional

from bertcompress.space import Child, Dimensions, SearchSpace
from bertcompress.supernet import SuperBert
from bertcompress.supernet.alignment import Alignment, Anchor, Ramp
from bertcompress.supernet.strategy import STRATEGIES, Strategy, StrategySettings
from bertcompress.supernet.train import SupernetStep
from bertcompress.training.distill import embedding_groups, soft_cross_entropy
from bertcompress.training.loop import Batch, FitSettings, make_optimizer, model_inputs, update

OPERATORS = ["mha12", "mha6", "mha3", "ffn1536", "ffn768", "ffn384", "conv3", "conv5", "identity"]
TARGETS = {"magic-t": 1.05, "magic-at": 1.5}
NUM_CLASSES = 2
TEMPERATURE = 2.0
DEV_BATCH_SIZE = 64
NUM_CHECKS = 5


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=384)
    parser.add_argument("--num-positions", type=int, default=6)
    parser.add_argument("--operators", nargs="+", default=OPERATORS)
    parser.add_argument("--vocab-size", type=int, default=30522)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--sequence-length", type=int, default=32)
    parser.add_argument("--check-every", type=int, default=100, help="steps between anchor replacements")
    parser.add_argument("--check-batches", type=int, default=4, help="of 64 rows")
    parser.add_argument("--strategies", nargs="+", help="names as in the record; all by default")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "step-cost.json")
    return parser.parse_args(words)


def random_batch(batch_size: int, length: int, vocab_size: int, generator: torch.Generator) -> Batch:
    """Ids (B, T) of which a row has half to all, labels and a teacher's logits."""
    lengths = torch.randint(length // 2, length + 1, (batch_size, 1), generator=generator)
    lengths[0] = length
    mask = (torch.arange(length)[None, :] < lengths).long()
    return {
        "input_ids": torch.randint(1, vocab_size, (batch_size, length), generator=generator) * mask,
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(mask),
        "labels": torch.randint(0, NUM_CLASSES, (batch_size,), generator=generator),
        "teacher": torch.randn(batch_size, NUM_CLASSES, generator=generator),
    }


def task_loss(logits: Tensor, batch: Any) -> Tensor:
    """Labels and a teacher's logits, as in the pipeline."""
    hard = functional.cross_entropy(logits, batch["labels"])
    return 0.3 * hard + 0.7 * soft_cross_entropy(logits, batch["teacher"], TEMPERATURE)


class Bench:
    """A supernet with its optimizer, the strategies on it, and the clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        dimensions = Dimensions(
            vocab_size=options.vocab_size,
            hidden_size=options.hidden_size,
            embedding_size=options.hidden_size,
            head_size=32,
            num_labels=NUM_CLASSES,
            pooling="mean",
        )
        self.space = SearchSpace.uniform(dimensions, options.num_positions, options.operators)
        self.supernet = SuperBert(self.space)
        # Embeddings stay as they are, as by default: they would be most of a step, whatever the strategy.
        groups = embedding_groups(self.supernet, 0.0)
        self.settings = FitSettings(1, options.batch_size, 1e-6)
        self.accelerator = Accelerator(cpu=True)
        optimizer = make_optimizer(self.supernet, self.settings, groups)
        self.model, self.optimizer = self.accelerator.prepare(self.supernet, optimizer)
        self.supernet.train()
        self.rng = random.Random(options.seed)
        self.strategies = self.make_strategies()
        self.steps = {
            name: SupernetStep(self.supernet, task_loss, strategy, 1)
            for name, strategy in self.strategies.items()
        }

    def make_strategies(self) -> dict[str, Strategy[Any]]:
        """The named ones, in all their forms."""
        largest = self.space.largest()

        def made(name: str, **extra: Any) -> Strategy[Any]:
            parts: dict[str, Any] = {
                "alignment": Alignment(Ramp(1.0, 0.0, 0.0), anchor=largest),
                "largest": largest,
                "smallest": self.space.smallest(),
                "imitation": lambda ours, theirs: soft_cross_entropy(ours, theirs, TEMPERATURE),
            }
            return STRATEGIES[name](StrategySettings(self.space.choices, random.Random(1), **(parts | extra)))

        both = Alignment(Ramp(1.0, 0.0, 0.0), anchor=largest, inputs=True)
        every_row = Alignment(Ramp(1.0, 0.0, 0.0), anchor=largest, one_row_in=1)
        return {
            **{name: made(name) for name in STRATEGIES},
            "fair, accumulated": made("fair", fair_update="accumulated"),
            "magic-at, inputs too": made("magic-at", alignment=both),
            "magic-at, every row": made("magic-at", alignment=every_row),
            "magic-at, largest anchor": made("magic-at"),
        }

    def timed(self, work: Callable[[], Any]) -> float:
        """Milliseconds of CPU time that `work` takes on this thread."""
        start = time.thread_time()
        work()
        return (time.thread_time() - start) * 1e3

    def strategy_update(self, name: str, batch: Batch) -> None:
        """One update by the strategy."""
        step = self.steps[name]
        losses = step.losses(self.model, batch, 0)
        update(self.accelerator, self.supernet, self.optimizer, losses, self.settings)

    def plain_updates(self, children: Sequence[Child], batch: Batch) -> None:
        """One update for each child."""
        for child in children:
            loss = task_loss(self.model(**model_inputs(batch), architecture=child).logits, batch)
            update(self.accelerator, self.supernet, self.optimizer, loss, self.settings)

    def measure(self, name: str, batch: Batch) -> dict[str, float]:
        """Milliseconds of a strategy's update and of plain steps of its children, in random order."""
        step = self.steps[name]
        if step.anchor is not None and "largest" not in name:
            step.anchor = Anchor(self.space.sample(self.rng))
        children = self.next_children(name)
        times = {}
        for plain in self.rng.sample((True, False), 2):
            if plain:
                times["plain_ms"] = self.timed(lambda: self.plain_updates(children, batch))
            else:
                times["ms"] = self.timed(lambda: self.strategy_update(name, batch))
        assert step.children == children, "both train the same children"
        return times

    def next_children(self, name: str) -> list[Child]:
        """The children of the strategy's next update; its sampler stays where it is."""
        strategy = self.strategies[name]
        state = strategy.sampler.state()
        children = [strategy.sampler.next_child() for _ in range(strategy.children_per_update)]
        strategy.sampler.restore(state)
        return children

    def check_ms(self, batch: Batch, num_batches: int) -> float:
        """Milliseconds of one look at whether the anchor is replaced: two children on the dev batches."""

        def check() -> None:
            with torch.inference_mode():
                for child in (self.space.sample(self.rng), self.space.sample(self.rng)):
                    for _ in range(num_batches):
                        self.supernet(**model_inputs(batch), architecture=child)

        self.supernet.eval()
        found = statistics.median(self.timed(check) for _ in range(NUM_CHECKS))
        self.supernet.train()
        return found


def described(name: str, rows: list[dict[str, float]], check_ms: float, check_every: int) -> dict[str, Any]:
    """Medians of a strategy's rounds, and the median ratio with its quartiles."""
    ratios = [row["ms"] / row["plain_ms"] for row in rows]
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    # Of equal rounds the ratio of means says what a whole training costs.
    plain = statistics.mean(row["plain_ms"] for row in rows)
    whole = statistics.mean(row["ms"] for row in rows) / plain
    # A largest anchor is a fixed one, and never checked.
    is_checked = name.startswith("magic-a") and "largest" not in name
    checked = whole + check_ms / check_every / plain if is_checked else whole
    return {
        "strategy": name,
        "update_ms": statistics.median(row["ms"] for row in rows),
        "plain_ms": statistics.median(row["plain_ms"] for row in rows),
        "ratio": middle,
        "ratio_quartiles": [lower, upper],
        "ratio_of_means": whole,
        "ratio_with_checks": checked,
        "target": TARGETS.get(name),
        "met": None if name not in TARGETS else checked <= TARGETS[name],
    }


def main(words: Sequence[str]) -> int:
    options = parse_arguments(words)
    torch.set_num_threads(1)
    bench, generator = Bench(options), torch.Generator().manual_seed(options.seed)
    batches = itertools.cycle(
        random_batch(options.batch_size, options.sequence_length, options.vocab_size, generator)
        for _ in range(8)
    )
    bench.strategy_update("fair, accumulated", next(batches))  # every operator's AdamW state is made
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in options.strategies or bench.steps}
    for round_ in range(options.rounds):
        for name in bench.rng.sample(list(rows), len(rows)):
            rows[name].append(bench.measure(name, next(batches)))
        print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
    dev = random_batch(DEV_BATCH_SIZE, options.sequence_length, options.vocab_size, generator)
    check_ms = bench.check_ms(dev, options.check_batches)
    found = [described(name, measured, check_ms, options.check_every) for name, measured in rows.items()]
    record = {
        **provenance("step_cost.py", words, [options.seed]),
        "settings": {key: value for key, value in vars(options).items() if key != "output"},
        "clock": "CPU time of one thread",
        "check_ms": check_ms,
        "strategies": found,
    }
    for row in found:
        verdict = (
            "" if row["met"] is None else f"  target {row['target']}: {'met' if row['met'] else 'MISSED'}"
        )
        print(f"{row['strategy']:26} {row['ratio_with_checks']:.3f}x a plain step{verdict}")
    write_record(options.output, record)
    return 0 if all(row["met"] is not False for row in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
