"""The searcher study's own parts, on tables made up here: what they count, compare and write."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bertcompress.search import SEARCHERS
from bertcompress.space import Dimensions, SearchSpace

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import compare_searchers
import exact_speed
from searcher_study import Trace, compare, draw_figure, in_words, run_searcher, summarise
from tabular_space import TabularSpace, make_rows, networks

OPERATORS = ["mha1", "ffn16", "conv3", "conv5", "identity"]


@pytest.fixture
def table() -> TabularSpace:
    """3 positions; attention helps most at the end, convolutions at the start; latency goes with size."""
    dimensions = Dimensions(
        vocab_size=11, hidden_size=16, embedding_size=16, head_size=8, num_labels=2, pooling="cls"
    )
    space = SearchSpace.uniform(dimensions, 3, OPERATORS)
    generator = np.random.default_rng(0)
    metrics = {
        name: {
            "loss": 1.0
            - sum(0.1 * at if o.kind == "mha" else 0.02 * o.size / (1 + at) for at, o in enumerate(child))
            + generator.uniform(0, 0.01),
            "cpu_seconds": 1.0 + len(name),
        }
        for name, child in networks(space)
    }
    return TabularSpace(space, make_rows(space, metrics, lambda a: a.num_parameters / 1000))


def test_networks_are_counted_once_in_all_their_placements(table):
    assert len(table.rows) == 1 + 4 + 16 + 64
    child = table.space.smallest()
    for at in range(3):
        placed = (*child[:at], table.space.choices[0][0], *child[at + 1 :])
        assert table.row(placed).architecture == "mha1"
    assert table.row(child).architecture == "embeddings-only"


def test_a_table_comes_back_from_json(table, tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table.to_dict()))
    assert TabularSpace.read(path) == table
    values = table.to_dict()
    del values["rows"][3]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="1 networks are missing"):
        TabularSpace.read(path)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_a_share_of_the_networks_meets_each_budget(table, share):
    budgets = table.budgets(share)
    for budget in budgets.limits:
        values = [table.cost_of(child)[budget.name] for _, child in networks(table.space)]
        assert np.mean([budget.overshoot(value) == 0 for value in values]) >= share
    best = table.optimum(budgets)
    assert best.loss == min(
        row.loss for row in table.rows.values() if row.num_parameters <= budgets.limits[0].upper
    )


@pytest.mark.parametrize("name", ["random", "evolution"])
def test_a_trace_is_that_of_the_search(table, name):
    budgets = table.budgets(0.7)

    def trace(seed: int) -> Trace:
        return run_searcher(name, table, budgets, seed=seed, num_evaluations=20, population_size=6)

    first = trace(0)
    assert len(first.best) == len(first.seconds) == 20
    assert list(first.best) == sorted(first.best, reverse=True)
    assert list(first.seconds) == sorted(first.seconds)
    assert first.best == trace(0).best
    assert first.best != trace(1).best
    assert 0 < first.own_seconds < first.seconds[-1]
    assert first.best[-1] >= table.optimum(budgets).loss


def make_trace(best: list[float], seconds: list[float]) -> Trace:
    return Trace(tuple(best), tuple(seconds), 0.5)


def test_regrets_are_taken_at_equal_evaluations_and_equal_seconds():
    traces = {
        "random": [make_trace([5.0, 4.0, 4.0], [1.0, 2.0, 3.0])] * 6,
        "evolution": [make_trace([5.0, 2.0, 1.0], [2.0, 4.0, 6.0])] * 6,
    }
    summary = summarise(traces, optimum=1.0)
    assert summary["num_evaluations"] == 3
    assert summary["equal_seconds"] == 3.0
    ours, chance = summary["searchers"]["evolution"], summary["searchers"]["random"]
    assert ours["final_regret"]["mean"] == 0.0
    assert ours["found_optimum"] == 1.0
    assert ours["mean_regret"]["mean"] == pytest.approx(5 / 3)
    assert ours["equal_time_regret"]["mean"] == 4.0  # one evaluation fits into three seconds
    assert chance["final_regret"]["mean"] == chance["equal_time_regret"]["mean"] == 3.0
    assert chance["found_optimum"] == 0.0
    assert [point["mean"] for point in ours["curve"]] == [4.0, 1.0, 0.0]
    assert summary["beat_random"] == {"final": ["evolution"], "mean": ["evolution"], "equal_time": []}
    assert ours["against_random"]["equal_time"]["verdict"] == "worse"
    words = in_words("a table", summary)
    assert "evolution after 3 evaluations" in words
    assert "none after 3 s" in words


def test_a_difference_must_stand_out_from_the_seeds():
    low, high = [1.0, 1.1, 0.9, 1.05, 0.95], [2.0, 2.1, 1.9, 2.2, 1.8]
    assert compare(low, high)["verdict"] == "better"
    assert compare(high, low)["verdict"] == "worse"
    assert compare(low, low)["verdict"] == "no difference"
    assert compare(low, [*low[:4], 3.0])["verdict"] == "no difference"
    assert compare(low, high)["difference"] == pytest.approx(-1.0)


def test_the_study_writes_a_record_and_a_figure(table, tmp_path, monkeypatch, capsys):
    path = tmp_path / "made-up.json"
    path.write_text(json.dumps(table.to_dict()))
    output = tmp_path / "searchers.json"
    words = ["study", str(path), "--seeds", "2", "--max-evaluations", "12", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["compare_searchers.py", *words])
    compare_searchers.main()
    record = json.loads(output.read_text())
    assert record["seeds"] == [0, 1]
    assert record["command"].startswith("python benchmarks/compare_searchers.py study")
    summary = record["tables"]["made-up"]
    assert set(summary["searchers"]) == set(SEARCHERS)
    assert summary["num_evaluations"] == 12
    assert summary["num_fitting"] <= summary["num_networks"] == 85
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert record["verdicts"][0] in capsys.readouterr().out


def test_scoring_goes_on_where_it_stopped(table, tmp_path):
    cache, calls = tmp_path / "scores.json", []

    def score(child) -> float:
        if len(calls) == 40:
            raise KeyboardInterrupt
        calls.append(child)
        return table.row(child).loss

    with pytest.raises(KeyboardInterrupt):
        compare_searchers.measure_all(table.space, score, cache)
    assert len(json.loads(cache.read_text())) == 40
    found = compare_searchers.measure_all(table.space, lambda child: table.row(child).loss, cache)
    assert {name: metrics["loss"] for name, metrics in found.items()} == {
        name: row.loss for name, row in table.rows.items()
    }


def test_a_figure_is_drawn_for_several_tables(tmp_path):
    traces = {"random": [make_trace([2.0, 1.0], [1.0, 2.0])], "exact": [make_trace([1.0, 1.0], [1.0, 2.0])]}
    summary = summarise(traces, optimum=1.0)
    draw_figure({"one": summary, "two": summary}, tmp_path / "new/figure.png")
    assert (tmp_path / "new/figure.png").stat().st_size > 0


def test_the_speed_summary_keeps_the_worst():
    rows = [
        {"question": "a", "answered": True, "wall": 1.0, "processor": 0.5},
        {"question": "a", "answered": False, "wall": 3.0, "processor": 0.7},
        {"question": "b", "answered": True, "wall": 2.0, "processor": 2.0},
    ]
    found = exact_speed.summarise(rows)
    assert found["a"] == {
        "asked": 2,
        "answered": 1,
        "wall_seconds": {"median": 2.0, "worst": 3.0},
        "processor_seconds": {"median": 0.6, "worst": 0.7},
    }
    assert list(found) == ["a", "b"]
