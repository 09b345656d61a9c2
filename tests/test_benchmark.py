"""The benchmark covers every point with every file, refuses the impossible, and says where it comes from."""

from __future__ import annotations

import itertools
import json

import pytest
from mask_sum import write_mask_sum

from bertcompress.errors import BudgetError, DataError
from bertcompress.latency import benchmark as module
from bertcompress.latency.benchmark import benchmark, benchmark_serving, precision_of, widest_team_shares
from bertcompress.measure import Conditions, num_cpus
from bertcompress.measure.teamwork import Teamwork


@pytest.fixture
def contenders(tmp_path):
    """Two exported files in one folder: the sum of input_ids and attention_mask."""
    paths = {name: tmp_path / f"{name}.onnx" for name in ("model", "model_int8")}
    for path in paths.values():
        write_mask_sum(path)
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 9, "max_position_embeddings": 64}))
    return paths


def run(contenders, **changes):
    axes = {"batch_sizes": (1, 2), "sequence_lengths": (4, 8), "num_threads": (1,)}
    return benchmark(contenders, **{**axes, "seconds_per_point": 0.0, **changes})


def test_every_file_is_timed_at_every_point(contenders):
    done = []
    result = run(contenders, on_progress=lambda *counts: done.append(counts))
    found = [(r["model"], r["batch_size"], r["sequence_length"], r["num_threads"]) for r in result["rows"]]
    assert sorted(found) == sorted(itertools.product(contenders, (1, 2), (4, 8), (1,)))
    assert done == [(number, 4) for number in (1, 2, 3, 4)]


def test_rows_hold_what_their_repeats_support(contenders):
    for row in run(contenders)["rows"]:
        assert row["precision"] == ("int8" if row["model"] == "model_int8" else "fp32")
        assert row["p50_ms"] > 0
        assert row["throughput_per_s"] == pytest.approx(row["batch_size"] * 1000 / row["p50_ms"])
        assert row["repeats"] < 100
        assert row["p95_ms"] is None
        assert row["p99_ms"] is None


def test_the_result_is_json_and_names_its_origin(contenders):
    result = json.loads(json.dumps(run(contenders)))
    assert {"bertcompress", "onnxruntime", "numpy", "python"} <= set(result["versions"])
    assert result["machine"]["num_cpus"] == num_cpus()
    assert result["machine"]["cpu"] in result["machine"]["key"]
    assert result["command"]
    assert result["created"].endswith("+00:00")


def test_more_threads_than_cpus_are_skipped_and_said(contenders, monkeypatch):
    monkeypatch.setattr(module, "num_cpus", lambda: 1)
    result = run(contenders, num_threads=(1, 2))
    assert {row["num_threads"] for row in result["rows"]} == {1}
    assert {point["num_threads"] for point in result["skipped"]} == {2}
    with pytest.raises(DataError, match="lends 1 CPUs"):
        run(contenders, num_threads=(2,))


def test_threads_that_work_together_better_at_times_are_noise(contenders, monkeypatch):
    readings = itertools.cycle([0.55, 0.66])
    monkeypatch.setattr(Teamwork, "share", lambda self: next(readings))
    result = run(contenders, num_threads=(1, 2))
    for row in result["rows"]:
        assert row["team_shares"] == (None if row["num_threads"] == 1 else [0.55, 0.66])
        assert row["noisy"] or row["num_threads"] == 1
    assert result["noise"]["team_shares"] == [0.55, 0.66]
    assert any("0.55 to 0.66 of one thread's time" in reason for reason in result["noise"]["reasons"])


def test_shares_of_different_numbers_of_threads_are_not_compared():
    rows = [
        {"num_threads": 1, "team_shares": None},
        {"num_threads": 2, "team_shares": [0.55, 0.57]},
        {"num_threads": 2, "team_shares": [0.54, 0.56]},
        {"num_threads": 4, "team_shares": [0.28, 0.3]},
    ]
    assert widest_team_shares(rows[:1]) is None
    assert widest_team_shares(rows) == (0.28, 0.3)
    assert widest_team_shares(rows[:3]) == (0.54, 0.57)


def test_all_problems_are_told_at_once(contenders, tmp_path):
    with pytest.raises(DataError) as caught:
        run({**contenders, "gone": tmp_path / "gone.onnx"}, sequence_lengths=(65,), batch_sizes=(0,))
    message = str(caught.value)
    assert "has 4 problems" in message
    assert "has positions for 64" in message
    assert "batch_sizes: [0]" in message
    assert "gone.onnx" in message


def test_a_config_without_sizes_is_told(contenders, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="lacks vocab_size"):
        run(contenders)


def test_nothing_to_time_is_told():
    with pytest.raises(DataError, match="no file to time"):
        run({})


def test_an_unknown_provider_is_told(contenders):
    with pytest.raises(BudgetError, match="use one of cpu, cuda"):
        run(contenders, provider="tpu")


def test_precision_is_read_from_the_name(tmp_path):
    names = ["model.onnx", "model_int8.onnx", "model_fp16.onnx", "my_model.onnx"]
    assert [precision_of(tmp_path / name) for name in names] == ["fp32", "int8", "fp16", "fp32"]


def test_serving_is_measured_for_every_file_and_number_of_callers(contenders):
    conditions = Conditions(batch_size=2, sequence_length=4)
    found = json.loads(
        json.dumps(
            benchmark_serving(contenders, conditions, num_callers=(1, 2), num_processes=1, seconds=0.01)
        )
    )
    assert [row["model"] for row in found["fresh"]] == list(contenders)
    assert [(row["model"], row["num_callers"]) for row in found["throughput"]] == list(
        itertools.product(contenders, (1, 2))
    )
    assert all(row["cold_start_ms"] > row["session_load_ms"] > 0 for row in found["fresh"])


def test_the_result_says_how_quiet_the_machine_was(contenders):
    noise = run(contenders)["noise"]
    assert noise["noisy"] is bool(noise["reasons"])
    assert noise["seconds"] > 0
