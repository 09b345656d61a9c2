"""Readings fall into the machine's states by the instrument's chain, and are summed up by their medians."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import teamwork


def test_readings_fall_into_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains = (0.54, 0.66, 0.55, 0.65, 0.56)
    readings = [{"chain": chain, "file": chain + 0.05, "hashing": 1.0, "product": 1.0} for chain in chains]
    monkeypatch.setattr(teamwork, "read", lambda *asked: readings)
    assert teamwork.main(["model.onnx", "--results", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "teamwork.json").read_text(encoding="utf-8"))
    assert {state: found["readings"] for state, found in record["states"].items()} == {"near": 3, "far": 2}
    assert record["states"]["near"]["file"] == pytest.approx(0.6)
    assert record["states"]["far"]["chain"] == pytest.approx(0.655)
    assert record["readings"] == readings


def test_a_call_beside_itself_is_stopped() -> None:
    assert teamwork.beside_itself(teamwork.hash_a_mebibyte) > 0
