"""Stand-alone work: every piece once, whoever does it, whatever is lost on the way.

Imports no torch: the workers import this module again."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.diagnostics.children_alone import draw_children, train_children
from bertcompress.errors import JobError

CHILDREN = {name: name for name in ("aa", "ab", "ba", "bb", "ac")}


def metrics_of(child: str, seed: int) -> dict[str, float]:
    """A stand-in for training: a number that only the child and the seed decide."""
    return {"loss": sum(map(ord, child)) + 0.1 * seed}


class Counting:
    """Trains and writes down which process trained what; survives pickling."""

    def __init__(self, folder: Path, *, dies_at: str | None = None) -> None:
        self.folder, self.dies_at = folder, dies_at

    def __call__(self, child: str, seed: int) -> Mapping[str, float]:
        marker = self.folder / "died"
        if child == self.dies_at and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / "trained.txt").open("a") as file:
            file.write(f"{child} {seed} {os.environ.get('OMP_NUM_THREADS')}\n")
        return metrics_of(child, seed)

    def trained(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "trained.txt").read_text().splitlines()]


def raises(child: str, seed: int) -> Mapping[str, float]:
    if child == "ba":
        raise MemoryError("planted")
    return metrics_of(child, seed)


def assert_complete(results: Mapping[str, list[dict[str, object]]], seeds: list[int]) -> None:
    assert list(results) == list(CHILDREN)
    for name, rows in results.items():
        assert [row["seed"] for row in rows] == seeds
        assert [row["metrics"] for row in rows] == [metrics_of(name, seed) for seed in seeds]


def test_every_child_is_trained_once_with_every_seed_and_never_again(tmp_path: Path) -> None:
    train = Counting(tmp_path)
    progress: list[tuple[int, int]] = []
    for _ in range(2):
        results = train_children(
            CHILDREN, [0, 1], train, tmp_path / "work", on_progress=lambda *done: progress.append(done)
        )
        assert_complete(results, [0, 1])
    assert len(train.trained()) == 10
    assert progress == [(done, 10) for done in range(1, 11)]
    # More seeds go on from there.
    assert_complete(train_children(CHILDREN, [0, 1, 2], train, tmp_path / "work"), [0, 1, 2])
    assert len(train.trained()) == 15


def test_an_error_keeps_what_was_trained(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"(?s)training of ba with seed 0: failed.*planted"):
        train_children(CHILDREN, [0], raises, tmp_path / "work")
    train = Counting(tmp_path)
    assert_complete(train_children(CHILDREN, [0], train, tmp_path / "work"), [0])
    assert [child for child, _, _ in train.trained()] == ["ba", "bb", "ac"]


def test_a_lost_worker_does_not_lose_its_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Counting(tmp_path, dies_at="aa")
    # The workers import this file, too.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    progress: list[tuple[int, int]] = []
    results = train_children(
        CHILDREN, [0, 1], train, tmp_path / "work", workers=2, on_progress=lambda *done: progress.append(done)
    )
    assert_complete(results, [0, 1])
    assert progress == [(done, 10) for done in range(1, 11)]
    assert (tmp_path / "died").exists()
    trained = train.trained()
    assert len({(child, seed) for child, seed, _ in trained}) == len(trained) == 10
    assert {threads for _, _, threads in trained} == {"1"}


def test_long_names_make_short_files(tmp_path: Path) -> None:
    name = "-".join(["mha12"] * 48)
    train_children({name: name}, [0], metrics_of, tmp_path)
    (result,) = tmp_path.glob("*.json")
    assert json.loads(result.read_text())["child"] == name


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_drawn_children_are_different_networks(seed: int) -> None:
    def sample(rng: random.Random) -> str:
        return "".join(rng.choice("ab-") for _ in range(4))

    def key(child: str) -> str:
        return child.replace("-", "")

    found = draw_children(sample, 12, random.Random(seed), key=key)
    assert len({key(child) for child in found}) == 12
    assert found == draw_children(sample, 12, random.Random(seed), key=key)
    assert len(draw_children(sample, 40, random.Random(seed), key=key)) <= 31
