"""Interference and ranking on images: the chain of examples/images.py; results/interference-images.json.

    python benchmarks/interference_images.py --work runs/interference-images --settings spos magic-at

Five positions of {inverted residuals of kernel 3 and 5 and expansion 1 and 3, identity} on scikit-learn's
digits. The space knows nothing of BERT, and nothing is downloaded. One thread, some minutes.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranking_study import Setting, add_arguments, proxies_by_name, publish_study

from bertcompress.diagnostics.children_alone import draw_children
from bertcompress.space import canonical, child_name
from bertcompress.training.loop import seeded

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import images

MOST_CHILDREN = 40


@lru_cache(maxsize=1)
def splits() -> tuple[images.Images, images.Images]:
    """Training and validation images, the same for all seeds."""
    return images.digits(0)


@dataclass(frozen=True)
class Digits:
    """The world of this study; `steps` are of a supernet of length 1."""

    steps: int
    child_steps: int
    num_pairs: int

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "operators": [block.name for block in images.BLOCKS],
                "num_positions": images.NUM_POSITIONS, "num_channels": images.NUM_CHANNELS,
                "train_rows": len(splits()[0]), "dev_rows": len(splits()[1])}  # fmt: skip

    def children(self, count: int) -> list[images.Child]:
        def draw(rng: random.Random) -> images.Child:
            return tuple(rng.choice(blocks) for blocks in images.CHOICES)

        return draw_children(draw, count, random.Random(0), key=canonical)

    def costs(self, children: Sequence[images.Child]) -> dict[str, list[float]]:
        return {"parameters": [sum(block.num_parameters for block in child) for child in children]}

    def train_child(self, child: images.Child, seed: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            return images.train_alone(
                child, seed, splits=splits(), num_steps=self.child_steps, folder=Path(folder)
            )

    def train_supernet(self, setting: Setting, seed: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        if replace(setting, length=1.0, weight=0.3) != Setting(setting.strategy):
            raise SystemExit(f"{setting.name}: only length and weight are varied here")
        steps = round(self.steps * setting.length)
        start = time.process_time()
        if steps:
            with tempfile.TemporaryDirectory() as folder:
                network = images.train_chain(
                    setting.strategy, splits(), steps, Path(folder), seed, weight=setting.weight
                )
        else:
            with seeded(seed):
                network = images.BlockChain(images.CHOICES)
        seconds = time.process_time() - start
        train, dev = splits()
        children = self.children(MOST_CHILDREN)
        found: dict[str, Any] = {
            "steps": steps,
            "cpu_seconds": round(seconds, 3),
            "scores": {child_name(child): images.validation_loss(network, child, dev) for child in children},
            "constant_loss": constant_loss(),
            "interference": images.measure(network, train, self.num_pairs, seed=0),
        }
        if steps:
            return found
        batches = images.probe_batches(train)[:2]
        return found | {"proxies": proxies_by_name(images.probed(network), children, batches)}


def constant_loss() -> float:
    """Validation loss of answering every image by the frequencies of the training labels."""
    train, dev = splits()
    counts = np.bincount(train.labels, minlength=images.NUM_CLASSES)
    return float(-np.log(counts / counts.sum())[dev.labels].mean())


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, "interference-images")
    parser.add_argument("--steps", type=int, default=1200, help="steps of a supernet (default: 1200)")
    parser.add_argument("--child-steps", type=int, default=150, help="of a child alone (default: 150)")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of children a distance (default: 12)")
    return parser.parse_args(words)


def main() -> None:
    """Train what is missing, and write record, figures and tables."""
    words = sys.argv[1:]
    arguments = parse_arguments(words)
    world = Digits(arguments.steps, arguments.child_steps, arguments.pairs)
    publish_study(world, arguments, "interference_images.py", words)


if __name__ == "__main__":
    main()
