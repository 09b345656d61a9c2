"""The grid of random architectures: the same draws again, failures told by gate, resumed when killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import export_grid

from bertcompress.errors import ExportError
from bertcompress.export.optimize import CANDIDATES


def test_draws_are_the_seed_s_and_reach_all_sizes() -> None:
    draws = [export_grid.draw(0, index) for index in range(200)]
    assert draws == [export_grid.draw(0, index) for index in range(200)]
    assert draws[:5] != [export_grid.draw(1, index) for index in range(5)]
    dimensions = [architecture.dimensions for architecture, _ in draws]
    assert {found.pooling for found in dimensions} == set(export_grid.POOLINGS)
    assert {found.hidden_size for found in dimensions} == set(export_grid.WIDTHS)
    assert {found.max_position_embeddings for found in dimensions} == set(export_grid.POSITIONS)
    assert any(found.embedding_size < found.hidden_size for found in dimensions)
    assert any(found.hidden_size % found.head_size for found in dimensions)
    assert {len(architecture.operators) for architecture, _ in draws} == set(range(export_grid.LONGEST + 1))
    assert {str(fusion) for _, fusion in draws} == {str(fusion) for fusion in CANDIDATES.values()}


def test_an_architecture_passes_every_gate_in_every_precision() -> None:
    row = export_grid.check(0, 5, list(export_grid.PRECISIONS))
    assert "error" not in row
    assert set(row["max_logit_errors"]) == set(export_grid.PRECISIONS)
    assert row["max_logit_errors"]["fp32"] < 1e-4


def test_a_killed_grid_goes_on_and_tells_failures_by_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []

    def check(seed: int, index: int, precisions: list[str]) -> dict[str, object]:
        checked.append(index)
        if index == 3:
            raise KeyboardInterrupt
        row: dict[str, object] = {"index": index, "seconds": 1.0, "max_logit_errors": {"fp32": 1e-6 * index}}
        return row if index != 1 else {"index": 1, "seconds": 1.0, "gate": "fp32: audit", "error": "no node"}

    words = ["--number", "3", "--precisions", "fp32", "--results", str(tmp_path)]
    monkeypatch.setattr(export_grid, "check", check)
    with pytest.raises(KeyboardInterrupt):
        export_grid.main(["--number", "4", *words[2:]])
    assert checked == [0, 1, 2, 3]
    assert export_grid.main(words) == 1
    assert checked == [0, 1, 2, 3]
    record = json.loads((tmp_path / "export-grid.json").read_text(encoding="utf-8"))
    assert (record["architectures"], record["passed"]) == (3, 2)
    assert record["failures_by_gate"] == {"fp32: audit": 1}
    assert record["failures"][0]["error"] == "no node"
    assert record["max_logit_errors"] == {"fp32": 2e-6}
    assert record["command"].startswith("python benchmarks/export_grid.py")
    assert [path.name for path in tmp_path.iterdir()] == ["export-grid.json"]


def test_what_a_gate_stops_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ExportError("position 0: planted")

    monkeypatch.setattr(export_grid, "audit", broken)
    row = export_grid.check(0, 5, ["fp32"])
    assert row["gate"] == "fp32: audit"
    assert row["error"] == "ExportError: position 0: planted"
