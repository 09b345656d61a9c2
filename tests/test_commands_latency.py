"""`bertcompress benchmark` and `latency-table` print what they measured and write the same as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_sum import write_mask_sum
from typer.testing import CliRunner

from bertcompress.cli import app as cli
from bertcompress.cli import options as command_line
from bertcompress.cli.benchmark import p50_disagreement
from bertcompress.latency import LatencyTable
from bertcompress.measure import Conditions


def invoke(*words: object):
    # Wide, so that no table is folded.
    return CliRunner().invoke(cli.app, list(map(str, words)), env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported folder in miniature: one file, the sum of input_ids and attention_mask."""
    path = tmp_path / "small" / "model.onnx"
    path.parent.mkdir()
    write_mask_sum(path)
    path.with_name("config.json").write_text('{"vocab_size": 9, "max_position_embeddings": 64}')
    return path.parent


SHAPES = ("--batch-sizes", "1", "--sequence-lengths", "8,16", "--threads", "1")


def test_benchmark_prints_and_writes_what_it_measured(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    quick = ("--seconds", "0.01", "--repeats", "2", "--callers", "2", "-o", out)
    done = invoke("benchmark", folder, *SHAPES, *quick)
    assert done.exit_code == 0, done.output
    assert "small/model.onnx: 2 callers get" in done.output
    assert "2 measurements: p50 differs by" in done.output
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [(row["model"], row["sequence_length"]) for row in result["rows"]] == [
        ("small/model.onnx", 8),
        ("small/model.onnx", 16),
    ]
    assert len(result["repeats"]) == 2
    assert result["p50_disagreement"] == p50_disagreement([each["rows"] for each in result["repeats"]])
    assert result["fresh"][0]["peak_memory_mib"] > 0
    assert result["throughput"][0]["num_callers"] == 2
    assert result["throughput"][0]["sequence_length"] == 8


def test_without_serving_no_process_is_started(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = invoke("benchmark", folder, *SHAPES, "--seconds", "0.01", "--no-serving", "-o", out)
    assert done.exit_code == 0, done.output
    assert "fresh" not in json.loads(out.read_text(encoding="utf-8"))


def test_the_words_of_before_do_the_same_and_say_the_new_ones(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = invoke("latency", "time", folder, "--seconds", "0.01", "--callers", "1", "-o", out)
    assert done.exit_code == 0, done.output
    assert "is now `bertcompress benchmark DIR...`" in done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [row["sequence_length"] for row in result["rows"]] == [32]


def test_benchmark_refuses_a_folder_without_files(tmp_path: Path) -> None:
    refused = invoke("benchmark", tmp_path)
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert "holds no .onnx file" in refused.stderr


@given(st.lists(st.floats(0.5, 100), min_size=1, max_size=5), st.floats(1, 2))
def test_disagreement_is_that_of_the_worst_file(medians: list[float], factor: float) -> None:
    first = [{"p50_ms": median} for median in medians]
    second = [*first[:-1], {"p50_ms": medians[-1] * factor}]
    assert p50_disagreement([first, second]) == pytest.approx(factor - 1)
    assert p50_disagreement([first]) is None


def test_table_prints_costs_and_the_error_on_chains_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = LatencyTable(Conditions(), "a machine", "wall", 0.5, {"conv3": 0.125}, 8, 20, 1.234, 0.98765)
    asked = {}

    def recipe_table(recipe, *, num_heldout, console):
        asked.update(name=recipe.name, num_heldout=num_heldout)
        return table

    fake = SimpleNamespace(recipe_table=recipe_table)
    monkeypatch.setitem(sys.modules, "bertcompress.pipeline.operator_costs", fake)
    out = tmp_path / "table.json"
    done = invoke("latency-table", "reviews-mini", "--heldout", "20", "-o", out)
    assert done.exit_code == 0, done.output
    assert asked == {"name": "reviews-mini", "num_heldout": 20}
    assert "0.1250" in done.output
    assert "on 20 held out: mean absolute error 1.23%, Kendall 0.988" in done.output
    assert LatencyTable.from_dict(json.loads(out.read_text(encoding="utf-8"))) == table
