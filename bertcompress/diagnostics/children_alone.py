"""Stand-alone training of many children: the ground truth that a supernet's ranking is held against.

The work is cut into pieces, a child and a seed each, with one result file a piece. Whoever wants a piece
takes its lock first, and the system frees the locks of a process that is gone: so any number of processes
share the work, a lost one's piece is taken up by another, and a killed command goes on where it was."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bertcompress.errors import RunFolderError
from bertcompress.files import write_atomically

C = TypeVar("C")
Metrics = Mapping[str, float]
MAX_DRAWS_A_CHILD = 200
# Read by the numerical libraries when a process starts.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL_SECONDS = 0.5


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


def train_children(
    children: Mapping[str, C],
    seeds: Sequence[int],
    train_child: Callable[[C, int], Metrics],
    folder: Path,
    *,
    processes: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Train every child with every seed, or read what `folder` has; results by name, in the seeds' order.

    A result is {"child", "seed", "seconds", "metrics"}. With several processes, `train_child` is a function
    of a module or one's `partial`, and each process (started afresh) gets one thread. The folder belongs
    to one set of training settings.

    Raises:
        RunFolderError: every process ended before the work did; what is trained is kept.
    """
    pieces = [Piece(name, child, seed) for seed in seeds for name, child in children.items()]
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    if processes == 1:
        _work(pieces, train_child, folder, on_progress)
    else:
        _work_together(pieces, train_child, folder, processes, on_progress)
    missing = [piece for piece in pieces if not (folder / piece.file_name).exists()]
    if missing:
        raise RunFolderError(
            f"{folder}: {len(missing)} of {len(pieces)} trainings are missing, first {missing[0].name} with "
            f"seed {missing[0].seed}: every process ended early, its message is above; run the command "
            "again, it goes on from here"
        )
    found = {(piece.name, piece.seed): _read(folder / piece.file_name) for piece in pieces}
    return {name: [found[name, seed] for seed in seeds] for name in children}


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _work(
    pieces: Sequence[Piece[C]],
    train_child: Callable[[C, int], Metrics],
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Take pieces until all are done: first those that nobody holds, then wait for those that others hold."""
    for wait in (False, True):
        for piece in pieces:
            path = folder / piece.file_name
            if path.exists():
                continue
            _stop_when_orphaned()
            with _claim(folder / "claims" / piece.file_name, wait=wait) as claimed:
                if not claimed or path.exists():
                    continue
                _train(piece, train_child, path)
            if on_progress is not None:
                on_progress(_count_done(pieces, folder), len(pieces))


def _stop_when_orphaned() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)


@contextmanager
def _claim(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether the piece is ours to do; the lock goes with the process, however that ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _train(piece: Piece[C], train_child: Callable[[C, int], Metrics], path: Path) -> None:
    start = time.perf_counter()
    metrics = dict(train_child(piece.child, piece.seed))
    seconds = round(time.perf_counter() - start, 3)
    result = {"child": piece.name, "seed": piece.seed, "seconds": seconds, "metrics": metrics}
    write_atomically(path, (json.dumps(result, indent=1) + "\n").encode())


def _count_done(pieces: Sequence[Piece[C]], folder: Path) -> int:
    return sum((folder / piece.file_name).exists() for piece in pieces)


def _work_together(
    pieces: Sequence[Piece[C]],
    train_child: Callable[[C, int], Metrics],
    folder: Path,
    processes: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    # Spawned, not forked: a fork of a process whose thread pools run can hang.
    context = multiprocessing.get_context("spawn")
    workers = []
    with _one_thread_each():
        for index in range(processes):
            # Each starts elsewhere in the list, so that they seldom ask for the same piece.
            start = index * len(pieces) // processes
            order = [*pieces[start:], *pieces[:start]]
            worker = context.Process(target=_work, args=(order, train_child, folder), daemon=True)
            worker.start()
            workers.append(worker)
    reported = -1
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(POLL_SECONDS / len(workers))
        done = _count_done(pieces, folder)
        if on_progress is not None and done != reported:
            on_progress(done, len(pieces))
            reported = done


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """The environment that a new process starts from: one thread; ours is put back."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
