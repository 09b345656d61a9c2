"""Does an exported file compute what the PyTorch model computes? Asked over the shapes that break exports.

fp32 and fp16 have to agree to the tolerance that their precision declares; the others are other networks by
design, so their error is measured, not judged: the task metric on real data judges them."""

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
from bertcompress.export.heads import (
    HEADS,
    SEQUENCE,
    Head,
    answers_numbers,
    choices,
    head_of_class,
    head_of_session,
    same_answers,
    stacked,
)
from bertcompress.export.optimize import LOAD_ERRORS
from bertcompress.export.precisions import find_precision
from bertcompress.measure import run, session
from bertcompress.measure.session import as_one
from bertcompress.sources.limits import input_limits

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
    """Named batches of random ids: every kind of padding, segments mixed, one row, shortest and longest."""
    generator = np.random.default_rng(seed)
    middle = min(24, max_length)

    def feed(batch_size: int, length: int, mask: np.ndarray | None = None) -> Feed:
        ids = generator.integers(0, vocab_size, (batch_size, length), dtype=np.int64)
        kept = np.ones_like(ids) if mask is None else np.broadcast_to(mask, ids.shape).astype(np.int64)
        return {"input_ids": ids, "attention_mask": kept, "token_type_ids": np.zeros_like(ids)}

    lengths = generator.integers(1, middle + 1, (4, 1))
    right = np.arange(middle)[None, :] < lengths  # (4, T)
    holes = generator.random((4, middle)) < 0.6
    holes[:, 0] = True  # no row is without any token
    pairs = feed(3, middle)
    pairs["token_type_ids"][:, middle // 2 :] = type_vocab_size - 1
    padded_pairs = feed(4, middle, holes)
    padded_pairs["token_type_ids"] = generator.integers(0, type_vocab_size, (4, middle), dtype=np.int64)
    yield "no padding", feed(4, middle)
    yield "right padding", feed(4, middle, right)
    yield "left padding", feed(4, middle, right[:, ::-1])
    yield "holes in the mask", feed(4, middle, holes)
    yield "two segments", pairs
    yield "segments and holes", padded_pairs
    yield "one token of many", feed(2, middle, np.arange(middle)[None, :] == np.array([[0], [middle - 1]]))
    yield "batch 1", feed(1, middle)
    yield "length 1", feed(2, 1)
    yield "batch 1, length 1", feed(1, 1)
    yield f"length {max_length}", feed(1, max_length)
    yield f"length {max_length}, padded", feed(2, max_length, np.arange(max_length)[None, :] % 3 < 2)


@dataclass(frozen=True)
class Reference:
    """What PyTorch computes on the cases: a file is held against it as often as there are files."""

    feeds: Mapping[str, Feed]
    logits: Mapping[str, np.ndarray]
    num_real: int
    head: Head = SEQUENCE
    numbers: bool = False

    @property
    def scale(self) -> float:
        """How far logits reach from zero, at most 1: a head that was never trained has tiny ones."""
        return min(1.0, max(float(np.abs(logits).max()) for logits in self.logits.values()))


def reference_of(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]] = ()) -> Reference:
    """The model's logits on `shape_cases` and on real `batches`.

    Raises:
        VerificationError: the model's class is of no known head.
    """
    limits = input_limits(model.config.to_dict())
    feeds = dict(
        shape_cases(
            vocab_size=limits.vocab_size, max_length=limits.max_length, type_vocab_size=limits.num_segments
        )
    )
    real = {f"real batch {index}": as_feed(batch) for index, batch in enumerate(batches)}
    feeds |= real
    logits = {name: model_logits(model, feed) for name, feed in feeds.items()}
    return Reference(feeds, logits, len(real), _head_of(model), gives_numbers(model))


def gives_numbers(model: PreTrainedModel) -> bool:
    """Return whether a model answers with numbers: one of a regression, or one for each of several labels."""
    return answers_numbers(_head_of(model), model.config.num_labels or 0, model.config.problem_type)


def verify(
    path: Path | str,
    model: PreTrainedModel,
    *,
    precision: str = "fp32",
    batches: Iterable[Mapping[str, Tensor]] = (),
    tolerance: float | None = None,
) -> Verification:
    """Compare a file's logits with those of the model it came from, on `shape_cases` and on real `batches`.

    Raises:
        VerificationError: see reference_of and compare.
    """
    return compare(path, reference_of(model, batches), precision=precision, tolerance=tolerance)


def compare(
    path: Path | str, reference: Reference, *, precision: str = "fp32", tolerance: float | None = None
) -> Verification:
    """Hold a file's logits against PyTorch's. Agreement is the share of rows with the same answer.

    It is of real rows alone where there are some, and of tokens or positions where these are answered.
    `tolerance`, that of the precision if not given, is for logits of order one or more; below it shrinks
    with them.

    Raises:
        VerificationError: the file does not load or run, a logit is off by more than the tolerance, or
            any logit is not finite or of another shape.
    """
    allowed = find_precision(precision).tolerance if tolerance is None else tolerance
    limit = reference.scale * (np.inf if allowed is None else allowed)
    problems: list[str] = []
    errors: dict[str, float] = {}
    answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        opened = session(path, num_threads=1)
    except LOAD_ERRORS as error:
        raise VerificationError(f"{path} ({precision}): ONNX Runtime cannot load it: {error}") from error
    for name, feed in reference.feeds.items():
        expected = reference.logits[name]
        try:
            found = run(opened, feed)
        except (*LOAD_ERRORS, ValueError) as error:
            problems.append(f"{name}: does not run: {str(error).splitlines()[0]}")
            continue
        if found.shape != expected.shape:
            problems.append(f"{name}: logits of shape {found.shape}; PyTorch gives {expected.shape}")
            continue
        errors[name] = float(np.abs(found - expected).max())
        mask = feed["attention_mask"]
        answers[name] = choices(found, mask, reference.head), choices(expected, mask, reference.head)
    problems += [
        f"{name}: logits differ from PyTorch by {error:.3g}; allowed is {limit:.3g}"
        for name, error in errors.items()
        if not (np.isfinite(error) and error <= limit)
    ]
    if problems:
        raise VerificationError.from_problems(f"{path} ({precision})", problems)
    worst = max(errors, key=errors.__getitem__)
    judged = list(answers)[-reference.num_real :] if reference.num_real else list(answers)
    pairs = zip(*(answers[name] for name in judged), strict=True)
    ours, theirs = (stacked(list(side)) for side in pairs)
    rows = same_answers(ours, theirs, numbers=reference.numbers)
    return Verification(errors[worst], worst, float(rows.mean()), len(rows))


def graph_logits(
    path: Path | str, batches: Iterable[Mapping[str, Tensor]], *, num_threads: int = 1
) -> np.ndarray:
    """A file's logits (N, C) on batches of the data path, in their order, for the task's metric.

    Of other heads `choices` of them.
    """
    return feed_logits(path, map(as_feed, batches), num_threads=num_threads)


def feed_logits(path: Path | str, feeds: Iterable[Feed], *, num_threads: int = 1) -> np.ndarray:
    """As `graph_logits`, on arrays.

    Raises:
        VerificationError: the file's outputs are of no known head.
    """
    opened = session(path, num_threads=num_threads)
    head = head_of_session(opened)
    if head is None:
        found = ", ".join(f"{output.name} of rank {len(output.shape)}" for output in opened.get_outputs())
        known = "; ".join(f"{', '.join(each.outputs)} of rank {each.rank}" for each in HEADS)
        raise VerificationError(f"{path}: gives {found}; known are {known}; export it again")
    return stacked([choices(run(opened, feed), feed["attention_mask"], head) for feed in feeds])


def as_feed(batch: Mapping[str, Tensor]) -> Feed:
    """What the graph takes of a batch of the data path, as int64 arrays."""
    ids = batch["input_ids"]
    segments = batch.get("token_type_ids")
    return {
        "input_ids": ids.long().cpu().numpy(),
        "attention_mask": batch["attention_mask"].long().cpu().numpy(),
        "token_type_ids": (torch.zeros_like(ids) if segments is None else segments).long().cpu().numpy(),
    }


def model_logits(model: PreTrainedModel, feed: Feed) -> np.ndarray:
    """PyTorch's logits in eval mode, as `run` gives a file's; the model's own mode is put back."""
    training, names = model.training, _head_of(model).outputs
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad():
            tensors = {name: torch.from_numpy(array.copy()).to(device) for name, array in feed.items()}
            if model.config.model_type == "distilbert":
                del tensors["token_type_ids"]
            output = model(**tensors)
            return as_one([output[name].float().cpu().numpy() for name in names])
    finally:
        model.train(training)


def _head_of(model: PreTrainedModel) -> Head:
    head = head_of_class(type(model).__name__)
    if head is None:
        name, known = type(model).__name__, ", ".join(each.class_suffix for each in HEADS)
        raise VerificationError(f"{name}: has no known head; use a class that ends in {known}")
    return head
