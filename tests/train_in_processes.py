"""Trains small supernets and writes what each process did; test_processes.py runs it in one and in two."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch.nn import functional

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.space import Child, Dimensions, Operator, SearchSpace
from bertcompress.supernet.alignment import Alignment, Ramp
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.strategy import STRATEGIES, StrategySettings
from bertcompress.supernet.train import child_logits, train_supernet
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import FitSettings, seeded

NUM_STEPS = 6
NAMES = ("fair", "magic-at", "magic-t", "sandwich")


class NotedRandom(random.Random):
    """Remembers how many numbers were drawn: a process that draws another number is found out."""

    count = 0

    def getrandbits(self, k: int, /) -> int:
        self.count += 1
        return super().getrandbits(k)


def split_of_16_rows() -> TokenizedSplit:
    """Sixteen rows of six random ids."""
    generator = np.random.default_rng(0)
    offsets = np.arange(0, 16 * 6 + 1, 6)
    ids = generator.integers(1, 97, size=offsets[-1], dtype=np.int32)
    return TokenizedSplit(ids, np.zeros_like(ids), offsets, (ids[offsets[:-1]] < 48).astype(np.int64))


def train(name: str, folder: Path) -> dict[str, Any]:
    """Train two positions without dropout, a checkpoint every two steps; what came of it."""
    dimensions = Dimensions(
        vocab_size=97, hidden_size=32, embedding_size=32, head_size=8, num_labels=2, pooling="mean"
    )
    space = SearchSpace.uniform(dimensions, 2, ["mha2", "ffn16", "conv3", "identity"])
    split, rng = split_of_16_rows(), NotedRandom(1)
    labels = torch.from_numpy(split.labels)
    with seeded(0) as shuffles, TrainingLog(folder / name, name, None) as log:
        supernet = SuperBert(space, dropout=0.0)
        alignment: Alignment[Child] = Alignment(
            Ramp(1.0, 0.0, 0.0),
            dev_loss=lambda c: functional.cross_entropy(child_logits(supernet, c, split), labels).item(),
            check_every=2,
        )
        parts: StrategySettings[Operator] = StrategySettings(
            space.choices,
            rng,
            fair_update="accumulated",
            largest=space.largest(),
            smallest=space.smallest(),
            imitation=functional.mse_loss,
            alignment=alignment,
        )
        _, anchor = train_supernet(
            supernet,
            split,
            lambda logits, batch: functional.cross_entropy(logits, batch["labels"]),
            FitSettings(NUM_STEPS, batch_size=4, learning_rate=1e-3, checkpoint_every=2),
            strategy=STRATEGIES[name](parts),
            rng=shuffles,
            log=log,
        )
    state = PartialState()
    return {
        "num_processes": state.num_processes,
        "num_drawn": rng.count,
        "anchor": None if anchor is None else [operator.name for operator in anchor.child],
        "logits": [
            child_logits(supernet, child, split).tolist() for child in (space.largest(), space.smallest())
        ],
    }


if __name__ == "__main__":
    made = {name: train(name, Path(sys.argv[1])) for name in NAMES}
    path = Path(sys.argv[1]) / f"process-{PartialState().process_index}.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    PartialState().destroy_process_group()
