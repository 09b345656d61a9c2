"""Another space: a chain of inverted residual blocks on scikit-learn's digits, from supernet to ranking.

    python examples/images.py --strategy magic-t

The blocks and their choices follow ProxylessNAS (Cai et al. 2019, arXiv 1812.00332): kernel, expansion, or
identity at every position. Samplers, alignment, training, interference and ranking are those of BERT's space;
the network, the data and the loss are all that is written anew. About a minute on one core of a CPU."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from bertcompress.diagnostics.children_alone import draw_children, train_children
from bertcompress.diagnostics.interference import ProbedChain, measure_interference
from bertcompress.diagnostics.interference_summary import summarize_interference, summarize_mixing
from bertcompress.diagnostics.intervention import measure_mixing
from bertcompress.diagnostics.ranking import count_baselines, rank_report
from bertcompress.report import draw_findings
from bertcompress.supernet.alignment import Alignment, Ramp
from bertcompress.supernet.chain import Inputs, SupernetOutput, run_chain
from bertcompress.supernet.samplers import UniformSampler
from bertcompress.supernet.strategy import STRATEGIES, StrategySettings
from bertcompress.supernet.train import child_logits, train_supernet
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, FitSettings, fit, seeded

NUM_POSITIONS = 5
NUM_CHANNELS = 16
NUM_CLASSES = 10
NUM_TRAIN = 1200
IMAGE_SIZE = 8
NUM_PROBED_BATCHES = 4
ALIGNMENT_WEIGHT = 0.3


@dataclass(frozen=True, order=True)
class Block:
    """An inverted residual block; kernel 0 is the identity."""

    kernel: int
    expansion: int = 0

    @property
    def name(self) -> str:
        """Kernel and expansion in a word."""
        return f"k{self.kernel}e{self.expansion}" if self.kernel else "identity"

    @property
    def kind(self) -> str:
        """What is counted as one kind of operator: every block is its own."""
        return self.name

    def __str__(self) -> str:
        return self.name

    @property
    def num_parameters(self) -> int:
        """Exact number of weights, the norms' included."""
        if not self.kernel:
            return 0
        inner = NUM_CHANNELS * self.expansion
        return inner * (NUM_CHANNELS + self.kernel**2 + NUM_CHANNELS + 4) + 2 * NUM_CHANNELS


Child: TypeAlias = tuple[Block, ...]
BLOCKS = (*(Block(kernel, expansion) for kernel in (3, 5) for expansion in (1, 3)), Block(0))
CHOICES = (BLOCKS,) * NUM_POSITIONS


class InvertedResidual(nn.Module):
    """x + project(depthwise(expand(x))) on x (B, C, H, W)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        inner = NUM_CHANNELS * block.expansion

        def part(entering: int, leaving: int, kernel: int, groups: int = 1) -> list[nn.Module]:
            convolution = nn.Conv2d(entering, leaving, kernel, padding=kernel // 2, groups=groups, bias=False)
            # Not batch norm: its running statistics would mix those of all children.
            return [convolution, nn.GroupNorm(1, leaving)]

        self.expand = nn.Sequential(*part(NUM_CHANNELS, inner, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(*part(inner, inner, block.kernel, groups=inner), nn.ReLU6())
        self.project = nn.Sequential(*part(inner, NUM_CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.depthwise(self.expand(x)))


class BlockChain(nn.Module):
    """All children over one set of weights, owned per position and block; a ChainNetwork."""

    def __init__(self, choices: Sequence[Sequence[Block]]) -> None:
        super().__init__()
        self.choices = choices
        self.stem = nn.Conv2d(1, NUM_CHANNELS, 3, stride=2, padding=1)
        self.positions = nn.ModuleList(
            nn.ModuleDict({str(block): InvertedResidual(block) for block in blocks if block.kernel})
            for blocks in choices
        )
        self.head = nn.Linear(NUM_CHANNELS, NUM_CLASSES)

    def module_at(self, position: int, block: Block) -> nn.Module | None:
        """The module of a block at a position; None for the identity."""
        return self.positions[position][str(block)] if block.kernel else None

    def run_stem(self, inputs: Inputs) -> Tensor:
        """Images (B, 1, H, W) to (B, C, H, W)."""
        return self.stem(inputs["images"])

    def run_position(self, x: Tensor, position: int, block: Block, inputs: Inputs) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        module = self.module_at(position, block)
        return x if module is None else module(x)

    def run_head(self, x: Tensor, inputs: Inputs) -> Tensor:
        """(B, C, H, W) to logits (B, 10)."""
        return self.head(x.mean(dim=(2, 3)))

    def forward(self, images: Tensor, *, architecture: Child) -> SupernetOutput:
        """Run one child; its hidden states have the channels last, (B, H, W, C)."""
        logits, states = run_chain(self, {"images": images}, architecture)
        return SupernetOutput(logits, tuple(state.movedim(1, -1) for state in states))


class Images:
    """Rows for training: images (N, 1, H, W) with their labels (N,)."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.lengths = np.ones(len(labels), dtype=np.int64)  # all images are of one size

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The images (B, 1, H, W) and labels (B,) of these rows."""
        rows = list(indices)
        return {
            "images": torch.from_numpy(self.images[rows]),
            "labels": torch.from_numpy(self.labels[rows]),
        }


def digits(seed: int) -> tuple[Images, Images]:
    """Scikit-learn's digits, shuffled, for training and for validation."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    shaped = (images[order] / 16).astype(np.float32).reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
    numbered = labels[order].astype(np.int64)
    cut = NUM_TRAIN
    return Images(shaped[:cut], numbered[:cut]), Images(shaped[cut:], numbered[cut:])


def inputs_of(batch: Batch) -> Inputs:
    """What the network takes of a batch."""
    return {"images": batch["images"]}


def task_loss(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of logits (B, 10)."""
    return functional.cross_entropy(logits, batch["labels"])


def imitation(logits: Tensor, largest: Tensor) -> Tensor:
    """Cross-entropy of logits (B, 10) with the largest child's answers."""
    return functional.cross_entropy(logits, largest.softmax(dim=-1))


def validation_loss(network: nn.Module, child: Child, split: Images) -> float:
    """Loss of a child with the network's weights."""
    logits = child_logits(network, child, split, inputs_of=inputs_of)
    return functional.cross_entropy(logits, torch.from_numpy(split.labels)).item()


def train_chain(
    strategy: str,
    splits: tuple[Images, Images],
    num_steps: int,
    folder: Path,
    seed: int,
    *,
    weight: float = ALIGNMENT_WEIGHT,
) -> BlockChain:
    """A supernet, trained with the strategy; `weight` is the alignment's."""
    train, validation = splits
    with seeded(seed) as rng, TrainingLog(folder, "supernet", None) as log:
        network = BlockChain(CHOICES)
        parts: StrategySettings[Block] = StrategySettings(
            CHOICES,
            random.Random(seed),
            largest=(max(BLOCKS),) * NUM_POSITIONS,
            smallest=(min(BLOCKS),) * NUM_POSITIONS,
            imitation=imitation,
            alignment=Alignment(
                Ramp(weight, 0.2, 0.4), dev_loss=lambda child: validation_loss(network, child, validation)
            ),
        )
        train_supernet(
            network,
            train,
            task_loss,
            FitSettings(num_steps, batch_size=64, learning_rate=3e-3),
            strategy=STRATEGIES[strategy](parts),
            inputs_of=inputs_of,
            rng=rng,
            log=log,
        )
    return network


def train_alone(
    child: Child, seed: int, *, splits: tuple[Images, Images], num_steps: int, folder: Path
) -> dict[str, float]:
    """The validation loss of a child that was trained by itself."""
    train, validation = splits

    def loss_of(model: nn.Module, batch: Batch, step: int) -> Tensor:
        return task_loss(model(**inputs_of(batch), architecture=child).logits, batch)

    with seeded(seed) as rng, TrainingLog(folder, "alone", None) as log:
        network = BlockChain([(block,) for block in child])
        fit(network, train, loss_of, FitSettings(num_steps, 64, 3e-3), rng=rng, log=log)
    return {"loss": validation_loss(network, child, validation)}


def probed(network: BlockChain) -> ProbedChain[Block, Batch]:
    """The network as interference and proxies look at it."""
    network.eval()

    def loss_of(child: Child, batch: Batch) -> Tensor:
        return task_loss(network(**inputs_of(batch), architecture=child).logits, batch)

    def channel_rows(activation: Tensor, batch: Batch) -> Tensor:
        return activation.movedim(1, -1).flatten(0, -2)  # (B, C, H, W) to (B*H*W, C)

    return ProbedChain(CHOICES, network.module_at, loss_of, rows_of=channel_rows)


def probe_batches(train: Images) -> list[Batch]:
    """The training images on which it is looked at."""
    return [train.batch(range(start, start + 64)) for start in range(0, NUM_PROBED_BATCHES * 64, 64)]


def measure(network: BlockChain, train: Images, num_pairs: int, seed: int) -> dict[str, Any]:
    """Interference between the network's children."""
    chain, batches = probed(network), probe_batches(train)
    comparisons = measure_interference(chain, batches, num_pairs=num_pairs, rng=random.Random(seed))
    mixed = measure_mixing(chain, batches, num_pairs=num_pairs, rng=random.Random(seed))
    return summarize_interference(comparisons, seed=seed) | {"mixing": summarize_mixing(mixed, seed=seed)}


def rank(network: BlockChain, splits: tuple[Images, Images], options: argparse.Namespace) -> dict[str, Any]:
    """Children scored by the network and trained by themselves, beside the baselines."""
    sampler = UniformSampler(CHOICES, random.Random(options.seed))
    drawn = draw_children(
        lambda rng: sampler.next_child(),
        options.children,
        random.Random(options.seed),
        key=lambda child: tuple(block for block in child if block.kernel),
    )
    children = {"-".join(map(str, child)): child for child in drawn}
    alone = partial(
        train_alone, splits=splits, num_steps=options.child_steps, folder=options.folder / "alone"
    )
    results = train_children(children, range(options.seeds), alone, options.folder / "children")
    truth = np.array([[result["metrics"]["loss"] for result in results[name]] for name in children])
    scores = np.array([validation_loss(network, child, splits[1]) for child in children.values()])
    costs = {"parameters": [sum(block.num_parameters for block in child) for child in drawn]}
    baselines = count_baselines(drawn, truth, kind_of=str, costs=costs, proxies={})
    return rank_report(
        list(children), truth, scores, baselines, seed=options.seed, num_resamples=options.resamples
    )


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", choices=sorted(STRATEGIES), default="spos")
    parser.add_argument("--steps", type=int, default=1200, help="of the supernet")
    parser.add_argument("--children", type=int, default=10, help="ranked, five or more")
    parser.add_argument("--child-steps", type=int, default=150, help="of each child trained by itself")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each child")
    parser.add_argument("--pairs", type=int, default=8, help="of children, at each number of differences")
    parser.add_argument("--resamples", type=int, default=1000, help="for the ranking's intervals")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/images"), help="trained children are kept")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Train, measure and rank; write the numbers and the figures, and say what they come to."""
    options = parse(words)
    splits, seed = digits(options.seed), options.seed
    with seeded(seed):
        fresh = BlockChain(CHOICES)
    network = train_chain(options.strategy, splits, options.steps, options.folder, seed)
    result = {
        "strategy": options.strategy,
        "interference": {
            "before": measure(fresh, splits[0], options.pairs, seed),
            "after": measure(network, splits[0], options.pairs, seed),
        },
        "ranking": rank(network, splits, options),
    }
    (options.folder / "images.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    draw_findings(result, options.folder)
    for row in result["interference"]["after"]["by_distance"]:
        print(f"{row['distance']} operators differ: gradient cosine {row['cosine']['value']:.2f}")
    print(result["ranking"]["verdict"])
    print(f"Wrote images.json, interference.png and ranking.png in {options.folder}")
    return result


if __name__ == "__main__":
    main()
