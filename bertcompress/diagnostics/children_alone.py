"""Stand-alone training of many children: the ground truth that a supernet's ranking is held against.

The work is cut into pieces, a child and a seed each, with one result file a piece: a killed command goes on
where it was. Pieces are independent jobs (`training.parallel`).
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bertcompress.files import read_json, write_atomically
from bertcompress.training.parallel import run_jobs

C = TypeVar("C")
Metrics = Mapping[str, float]
MAX_DRAWS_A_CHILD = 200


def draw_children(
    sample: Callable[[random.Random], C],
    num_children: int,
    rng: random.Random,
    *,
    key: Callable[[C], Hashable] = lambda child: child,
) -> list[C]:
    """Up to `num_children` different children; two with one `key` (the canonical form) are one network.

    Fewer come back when `sample` repeats itself 200 times a child: a small space has no more.
    """
    found: dict[Hashable, C] = {}
    for _ in range(num_children * MAX_DRAWS_A_CHILD):
        if len(found) == num_children:
            break
        child = sample(rng)
        found.setdefault(key(child), child)
    return list(found.values())


@dataclass(frozen=True)
class Piece(Generic[C]):
    """One child to train with one seed; `name` is the child in words, unique among the children."""

    name: str
    child: C
    seed: int

    @property
    def file_name(self) -> str:
        """Of the result: a digest, because a long chain's name is longer than a file's may be."""
        return f"{hashlib.sha256(self.name.encode()).hexdigest()[:20]}-{self.seed}.json"


@dataclass(frozen=True)
class _TrainPiece(Generic[C]):
    """Trains a piece and returns its result; it pickles where `train_child` does."""

    train_child: Callable[[C, int], Metrics]

    def __call__(self, piece: Piece[C]) -> dict[str, Any]:
        start = time.perf_counter()
        metrics = dict(self.train_child(piece.child, piece.seed))
        seconds = round(time.perf_counter() - start, 3)
        return {"child": piece.name, "seed": piece.seed, "seconds": seconds, "metrics": metrics}


def train_children(
    children: Mapping[str, C],
    seeds: Sequence[int],
    train_child: Callable[[C, int], Metrics],
    folder: Path,
    *,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Train every child with every seed, or read what `folder` has; results by name, in the seeds' order.

    A result is {"child", "seed", "seconds", "metrics"}. `on_progress` is told how many pieces of how many are
    done. Several workers need Ray, get one thread each, and `train_child` is pickled for them. The folder
    belongs to one set of training settings; only this process writes to it.

    Raises:
        JobError: a training failed; what was trained before is kept.
        RunFolderError: a result file is not readable.
    """
    pieces = [Piece(name, child, seed) for seed in seeds for name, child in children.items()]
    missing = [piece for piece in pieces if not (folder / piece.file_name).exists()]
    num_done = len(pieces) - len(missing)
    trained = run_jobs(_TrainPiece(train_child), missing, workers=workers, name_of=_described)
    for piece, result in trained if missing else ():
        write_atomically(folder / piece.file_name, (json.dumps(result, indent=1) + "\n").encode())
        num_done += 1
        if on_progress is not None:
            on_progress(num_done, len(pieces))
    found = {(piece.name, piece.seed): read_json(folder / piece.file_name) for piece in pieces}
    return {name: [found[name, seed] for seed in seeds] for name in children}


def _described(piece: Piece[C]) -> str:
    return f"training of {piece.name} with seed {piece.seed}"
