"""The benchmark of the clock fails where measurements disagree, or a busy machine is not called one."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import repeatability


def measurement(p50_ms: float, noisy: bool) -> dict[str, Any]:
    point = {"model": "model", "precision": "fp32", "batch_size": 1, "sequence_length": 32, "num_threads": 1}
    reasons = ["busy"] if noisy else []
    noise = {"noisy": noisy, "reasons": reasons}
    return {"rows": [{**point, "p50_ms": p50_ms}], "noise": noise, "seconds_per_point": 3.0}


@pytest.mark.parametrize(
    ("second_ms", "noisy", "status", "failed"),
    [
        (1.04, (False, False, True), 0, set()),
        (1.06, (False, False, True), 1, {"agree"}),
        (1.0, (False, True, True), 1, {"quiet_machine_is_called_quiet"}),
        (1.0, (False, False, False), 1, {"busy_machine_is_called_noisy"}),
    ],
)
def test_what_the_command_fails_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    second_ms: float,
    noisy: tuple[bool, bool, bool],
    status: int,
    failed: set[str],
) -> None:
    answers = iter(map(measurement, (1.0, second_ms, 3.0), noisy))
    monkeypatch.setattr(repeatability, "measure", lambda folder: next(answers))
    monkeypatch.setattr(repeatability, "busy_machine", nullcontext)
    assert repeatability.main(["folder", "--results", str(tmp_path)]) == status
    record = json.loads((tmp_path / "repeatability.json").read_text(encoding="utf-8"))
    assert {name for name, holds in record["checks"].items() if not holds} == failed
    assert record["largest_difference"] == pytest.approx(second_ms - 1)
    assert record["beside_busy_processes"]["times_slower"] == [3.0, 3.0]
