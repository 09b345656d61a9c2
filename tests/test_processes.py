"""Several processes train one supernet: the same child at a step, and the weights that one would reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_in_processes import NAMES, train

from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.log import read_curve

PROGRAM = Path(__file__).parent / "train_in_processes.py"


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have trained. Torch's launcher: accelerate's starts only one on a CPU."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [*command, str(PROGRAM), str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return folder


def test_two_processes_train_as_one(two_processes: Path, tmp_path: Path) -> None:
    first, second = (json.loads((two_processes / f"process-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for name in NAMES:
        alone = train(name, tmp_path)
        assert (alone["num_processes"], first[name]["num_processes"]) == (1, 2)
        assert first[name]["num_drawn"] == alone["num_drawn"] > 0
        if name == "magic-at":
            # Each process divides by the anchor's variance over its own rows: near, not equal.
            assert first[name]["anchor"] is not None
            continue
        torch.testing.assert_close(
            torch.tensor(first[name]["logits"]), torch.tensor(alone["logits"]), rtol=0, atol=1e-4
        )


def test_one_of_two_processes_writes(two_processes: Path) -> None:
    for name in NAMES:
        assert (two_processes / name / CHECKPOINT_NAME).is_file()
        steps = [point["step"] for point in read_curve(two_processes / name) if "loss" in point]
        assert steps == [6]
