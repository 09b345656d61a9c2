"""Does an exported file compute what the PyTorch model computes? Asked over the shapes that break exports.

fp32 has to agree to TOLERANCE; int8 is another network by design, so its error is measured, not judged: the
task metric on real data judges it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from bertcompress.errors import VerificationError
from bertcompress.measure import session

TOLERANCE = 1e-4
Feed = dict[str, np.ndarray]


@dataclass(frozen=True)
class Verification:
    """Agreement of a file with PyTorch: the largest logit error, where it lies, and equal predictions."""

    max_logit_error: float
    worst_case: str
    agreement: float
    num_rows: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def shape_cases(
    *, vocab_size: int, max_length: int, type_vocab_size: int = 2, seed: int = 0
) -> Iterator[tuple[str, Feed]]:
    """Named batches of random ids: every kind of padding, two segments, one row, shortest and longest."""
    generator = np.random.default_rng(seed)
    middle = min(24, max_length)

    def feed(batch_size: int, length: int, mask: np.ndarray | None = None) -> Feed:
        ids = generator.integers(0, vocab_size, (batch_size, length), dtype=np.int64)
        kept = np.ones_like(ids) if mask is None else mask.astype(np.int64)
        return {"input_ids": ids, "attention_mask": kept, "token_type_ids": np.zeros_like(ids)}

    lengths = generator.integers(1, middle + 1, (4, 1))
    right = np.arange(middle)[None, :] < lengths  # (4, T)
    holes = generator.random((4, middle)) < 0.6
    holes[:, 0] = True  # no row is without any token
    pairs = feed(3, middle)
    pairs["token_type_ids"][:, middle // 2 :] = type_vocab_size - 1
    yield "no padding", feed(4, middle)
    yield "right padding", feed(4, middle, right)
    yield "left padding", feed(4, middle, right[:, ::-1])
    yield "holes in the mask", feed(4, middle, holes)
    yield "two segments", pairs
    yield "batch 1", feed(1, middle)
    yield "length 1", feed(2, 1)
    yield "batch 1, length 1", feed(1, 1)
    yield f"length {max_length}", feed(1, max_length)


def verify(
    path: Path | str,
    model: PreTrainedModel,
    *,
    precision: str = "fp32",
    batches: Iterable[Mapping[str, Tensor]] = (),
    tolerance: float = TOLERANCE,
) -> Verification:
    """Compare a file's logits with those of the model it came from, on `shape_cases` and on real `batches`.

    Agreement is the share of rows with the same predicted label; of real rows alone where there are some.

    Raises:
        VerificationError: an fp32 logit is off by more than `tolerance`, or any logit is not finite.
    """
    opened = session(path, num_threads=1)
    config = model.config
    cases = list(
        shape_cases(
            vocab_size=config.vocab_size,
            max_length=config.max_position_embeddings,
            type_vocab_size=config.type_vocab_size,
        )
    )
    real = [(f"real batch {index}", _feed(batch)) for index, batch in enumerate(batches)]
    errors: dict[str, float] = {}
    agreed: dict[str, np.ndarray] = {}
    for name, feed in cases + real:
        reference, found = model_logits(model, feed), opened.run(None, feed)[0]  # (B, C)
        errors[name] = float(np.abs(found - reference).max())
        agreed[name] = found.argmax(-1) == reference.argmax(-1)
    limit = tolerance if precision == "fp32" else np.inf
    problems = [
        f"{name}: logits differ from PyTorch by {error:.3g}; allowed is {limit:.3g}"
        for name, error in errors.items()
        if not (np.isfinite(error) and error <= limit)
    ]
    if problems:
        raise VerificationError.from_problems(f"{path} ({precision})", problems)
    worst = max(errors, key=errors.__getitem__)
    rows = np.concatenate([agreed[name] for name, _ in real or cases])
    return Verification(errors[worst], worst, float(rows.mean()), len(rows))


def graph_logits(
    path: Path | str, batches: Iterable[Mapping[str, Tensor]], *, num_threads: int = 1
) -> np.ndarray:
    """A file's logits (N, C) on batches of the data path, in their order, for the task's metric."""
    opened = session(path, num_threads=num_threads)
    return np.concatenate([opened.run(None, _feed(batch))[0] for batch in batches])


def _feed(batch: Mapping[str, Tensor]) -> Feed:
    """What the graph takes of a batch of the data path, as int64 arrays."""
    ids = batch["input_ids"]
    segments = batch.get("token_type_ids")
    return {
        "input_ids": ids.long().cpu().numpy(),
        "attention_mask": batch["attention_mask"].long().cpu().numpy(),
        "token_type_ids": (torch.zeros_like(ids) if segments is None else segments).long().cpu().numpy(),
    }


def model_logits(model: PreTrainedModel, feed: Feed) -> np.ndarray:
    """PyTorch's logits (B, C) in eval mode; the model's own mode is put back."""
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad():
            tensors = {name: torch.from_numpy(array.copy()).to(device) for name, array in feed.items()}
            return model(**tensors).logits.float().cpu().numpy()
    finally:
        model.train(training)
