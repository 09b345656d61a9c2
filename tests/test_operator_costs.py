"""The study of operators' costs: its record holds every operator, and its recurrence is one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import operator_costs

from bertcompress.export.verify import graph_logits
from bertcompress.space import Dimensions

NAMES = ("conv5", "mha3", "gconv15")


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    dimensions = Dimensions(97, 32, 32, 8, 2, "mean", max_position_embeddings=40)
    monkeypatch.setattr(operator_costs, "DIMENSIONS", dimensions)


def test_the_record_holds_every_operator_at_every_point(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    words = ["--operators", *NAMES, "--lengths", "8", "--repeats", "1", "--seconds", "0.02"]
    assert operator_costs.main([*words, "--output", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["command"].startswith("python benchmarks/operator_costs.py --operators conv5")
    assert len(record["points"]) == len(operator_costs.PRECISIONS)
    for point in record["points"]:
        assert set(point["operators"]) == {*NAMES, "recurrence"}
        assert point["operators"]["conv5"]["over_conv5"] == {"median": 1.0, "from": 1.0, "to": 1.0}


def test_the_recurrence_reads_all_tokens_but_no_padding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = operator_costs.write_files("recurrence", 1, tmp_path)["fp32"]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 97, (2, 9), generator=generator)
    mask = torch.ones_like(ids)
    whole = graph_logits(path, [{"input_ids": ids, "attention_mask": mask}])
    padded = torch.cat([ids, torch.randint(1, 97, (2, 5), generator=generator)], dim=1)
    longer = torch.cat([mask, torch.zeros(2, 5, dtype=torch.long)], dim=1)
    found = graph_logits(path, [{"input_ids": padded, "attention_mask": longer}])
    np.testing.assert_allclose(found, whole, atol=1e-5)
