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

Shares = tuple[float, float] | None


def measurement(p50_ms: float, shares: Shares, noisy: bool) -> dict[str, Any]:
    point = {"model": "model", "precision": "fp32", "batch_size": 1, "sequence_length": 32}
    threads = 1 if shares is None else 2
    row = {**point, "num_threads": threads, "p50_ms": p50_ms, "team_shares": shares}
    return {
        "rows": [row],
        "noise": {"noisy": noisy, "reasons": ["busy"] if noisy else []},
        "seconds_per_point": 3.0,
    }


NEAR, FAR, MIXED = (0.54, 0.57), (0.64, 0.67), (0.54, 0.66)


AGREE, COMPARED = "agree", "what_can_be_compared_agrees"


@pytest.mark.parametrize(
    ("medians_ms", "shares", "noisy", "failed"),
    [
        ((1.0, 1.04), (None, None), (False, False, True), set()),
        ((1.0, 1.06), (None, None), (False, False, True), {AGREE, COMPARED}),
        ((1.0, 1.0), (None, None), (False, True, True), {"quiet_machine_is_called_quiet"}),
        ((1.0, 1.0), (None, None), (False, False, False), {"busy_machine_is_called_noisy"}),
        ((1.0, 1.06), (NEAR, NEAR), (False, False, True), {AGREE, COMPARED}),
        ((1.0, 1.3), (NEAR, FAR), (False, False, True), {AGREE}),
        ((1.0, 1.3, 1.02), (NEAR, MIXED, NEAR), (False, False, False, True), {AGREE}),
    ],
)
def test_what_the_command_fails_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    medians_ms: tuple[float, ...],
    shares: tuple[Shares, ...],
    noisy: tuple[bool, ...],
    failed: set[str],
) -> None:
    answers = iter(map(measurement, (*medians_ms, 3.0), (*shares, shares[0]), noisy))
    monkeypatch.setattr(repeatability, "measure", lambda folder: next(answers))
    monkeypatch.setattr(repeatability, "busy_machine", nullcontext)
    words = ["folder", "--measurements", str(len(medians_ms)), "--results", str(tmp_path)]
    assert repeatability.main(words) == int(bool(failed))
    record = json.loads((tmp_path / "repeatability.json").read_text(encoding="utf-8"))
    assert {name for name, holds in record["checks"].items() if not holds} == failed
    (point,) = record["points"]
    assert point["difference"] == pytest.approx(max(medians_ms) / min(medians_ms) - 1)
    assert point["num_compared"] == (1 if FAR in shares else 2)
    compared = [ms for ms, share in zip(medians_ms, shares, strict=True) if share in (None, NEAR)]
    expected = max(compared) / min(compared) - 1 if len(compared) > 1 else None
    assert point["difference_of_compared"] == pytest.approx(expected)
    assert record["beside_busy_processes"]["times_slower"] == [3.0, 3.0]
