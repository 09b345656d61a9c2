"""Ranking: a judgement that planted signals must sway, and noise must not."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from bertcompress.diagnostics.children_alone import draw_children
from bertcompress.diagnostics.ranking import (
    Baseline,
    count_baselines,
    kendall_difference,
    kendall_estimate,
    linear_prediction,
    rank_report,
    seed_ceiling,
    verdict,
)


def planted(num_children: int = 40, noise: float = 0.1, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Children of 6 letters whose loss falls with every "a", and with seed noise."""
    rng = np.random.default_rng(seed)
    draw = random.Random(seed)
    children = draw_children(
        lambda r: "".join(r.choice("abc") for _ in range(6)), num_children, draw, key=lambda child: child
    )
    merit = np.array([child.count("a") + 0.3 * child.count("b") for child in children])
    return children, -merit[:, None] + noise * rng.normal(size=(num_children, 2))


def baselines_of(children: list[str], truth: np.ndarray) -> list[Baseline]:
    costs = {"parameters": [child.count("c") for child in children]}
    return count_baselines(children, truth, kind_of=str, costs=costs, proxies={})


def test_a_baseline_that_beats_the_supernet_is_warned_of() -> None:
    children, truth = planted()
    score = np.random.default_rng(1).normal(size=len(children))
    report = rank_report(children, truth, score, baselines_of(children, truth), seed=0, num_resamples=200)
    assert report["verdict"].startswith("Not worth using here")
    assert any("linear model" in warning for warning in report["warnings"])
    assert any(warning.startswith("number of a ranks") for warning in report["warnings"])
    assert report["baselines"][0]["kendall"]["value"] > 0.8
    json.dumps(report, allow_nan=False)


def test_a_supernet_that_knows_more_than_counts_is_worth_using() -> None:
    rng = np.random.default_rng(0)
    children, _ = planted()
    # What matters is where the letters stand, which no count sees.
    merit = np.array(
        [sum(place * (letter == "a") for place, letter in enumerate(child)) for child in children]
    )
    truth = -merit[:, None] + 0.3 * rng.normal(size=(len(children), 2))
    score = -merit + 0.5 * rng.normal(size=len(children))
    report = rank_report(children, truth, score, baselines_of(children, truth), seed=0, num_resamples=200)
    assert report["verdict"].startswith("Worth using")
    assert report["warnings"] == []
    assert report["supernet"]["kendall"]["low"] > 0.6
    assert report["supernet"]["regret"]["5"] <= report["supernet"]["regret"]["1"]
    assert report["ceiling"]["value"] > 0.7


def test_close_to_the_baseline_is_undecided() -> None:
    children, truth = planted(20, noise=0.6)
    score = truth.mean(axis=1) + 0.9 * np.random.default_rng(5).normal(size=20)
    report = rank_report(children, truth, score, baselines_of(children, truth), seed=0, num_resamples=200)
    assert report["verdict"].startswith(("Undecided", "Not worth"))


def test_the_sign_of_a_count_is_found_and_told() -> None:
    children, truth = planted()
    names = {row["name"]: row for row in rank_report(
        children, truth, truth[:, 0], baselines_of(children, truth), seed=0, num_resamples=50
    )["baselines"]}  # fmt: skip
    assert names["number of a"]["sign_from_truth"]
    assert names["number of c (fewer is better)"]["kendall"]["value"] > 0
    assert names["parameters"]["kendall"]["value"] < 0  # a cost keeps its sign: more is better


def test_the_linear_model_never_sees_the_child_that_it_predicts() -> None:
    children, truth = planted()
    mean = truth.mean(axis=1)
    predicted = linear_prediction(children, mean)
    moved = mean.copy()
    moved[0] += 100
    assert linear_prediction(children, moved)[0] == pytest.approx(predicted[0], abs=1e-9)
    noise = np.random.default_rng(0).normal(size=len(children))
    assert kendall_estimate(linear_prediction(children, noise), noise, seed=0).value < 0.2


def test_the_ceiling_needs_two_seeds_and_is_one_without_noise() -> None:
    _, truth = planted(noise=0.0)
    distinct = np.arange(len(truth), dtype=float)
    assert seed_ceiling(truth[:, :1], seed=0) is None
    assert seed_ceiling(np.stack([distinct, distinct], axis=1), seed=0) is not None
    ceiling = seed_ceiling(np.stack([distinct, -distinct], axis=1), seed=0)
    assert ceiling is not None
    assert ceiling.value == pytest.approx(-1)


def test_differences_are_paired_and_several_supernets_are_averaged() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    nets = truth[:, None] + rng.normal(size=(40, 3))
    assert kendall_difference(nets[:, 0], nets[:, 0], truth, seed=0).to_dict() == {
        "value": 0,
        "low": 0,
        "high": 0,
    }
    singles = [kendall_estimate(nets[:, index], truth, seed=0, num_resamples=100).value for index in range(3)]
    assert kendall_estimate(nets, truth, seed=0, num_resamples=100).value == pytest.approx(np.mean(singles))
    # Two scores that share their noise: pairing takes it out of the difference.
    ours, theirs = nets[:, 0], nets[:, 0] + 0.01 * rng.normal(size=40)
    gap, alone = kendall_difference(ours, theirs, truth, seed=0), kendall_estimate(ours, truth, seed=0)
    assert gap.high - gap.low < 0.3 * (alone.high - alone.low)


def test_too_few_children_or_shapes_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="5 or more"):
        rank_report(["a"] * 4, np.zeros((4, 1)), np.zeros(4), [], seed=0)
    with pytest.raises(ValueError, match="do not go together"):
        rank_report(["a"] * 6, np.zeros((6, 1)), np.zeros(5), [], seed=0)


def test_verdict_without_baselines_or_signal() -> None:
    chance = {"kendall": {"value": 0.1, "low": -0.1, "high": 0.3}}
    assert "cannot be told from chance" in verdict(chance, [])[0]
    assert "no baseline was tried" in verdict({"kendall": {"value": 0.6, "low": 0.4, "high": 0.8}}, [])[0]
