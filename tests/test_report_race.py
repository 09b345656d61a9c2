"""The section "Race": every entrant in the order of its place, with how far it was trained."""

from __future__ import annotations

from typing import Any

from bertcompress.report.section import Table
from bertcompress.report.sections import race


def placing(name: str, share: float, score: float) -> dict[str, Any]:
    metrics = {"accuracy": 0.8, "agreement": 0.9}
    return {
        "architecture": name,
        "origin": "hand design",
        "share": share,
        "score": score,
        "metrics": {"validation": metrics, "test": {"accuracy": 0.75}},
    }


def test_every_entrant_has_a_row_in_the_order_of_places() -> None:
    placings = [placing("conv3-conv3", 1.0, 0.31), placing("mha3-ffn384", 0.1, 0.5)]
    section = race.section({"race": {"placings": placings}, "task": {"metric_name": "accuracy"}})
    assert section is not None
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    told = [[cell.text for cell in row.cells] for row in table.rows]
    assert [row[:4] for row in told] == [
        ["1", "conv3-conv3", "hand design", "100%"],
        ["2", "mha3-ffn384", "hand design", "10%"],
    ]
    assert "75" in told[0][-1]


def test_a_report_without_a_race_has_no_such_section() -> None:
    assert race.section({"name": "run"}) is None
