"""The interference studies' own parts, on a made-up world: what they train, resume, compare and write."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_supernet import interference

from bertcompress.diagnostics.children_alone import draw_children
from bertcompress.errors import JobError
from bertcompress.space import Child, Dimensions, SearchSpace, canonical, child_name

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import interference_images
import interference_warm
from ranking_study import (
    STRATEGIES,
    UNTRAINED,
    VARIED,
    Setting,
    add_arguments,
    run_study,
    wanted_settings,
)
from study_pages import write_figures, write_tables

SPACE = SearchSpace.uniform(Dimensions(11, 16, 16, 8, 2, "cls"), 4, ["mha1", "ffn16", "conv3"])


@dataclass
class Planted:
    """Attention lowers the loss; magic-t's supernet sees it as it is, spos's hardly, magic-a's not at all."""

    cost_a_step: float = 0.01
    trained: list[tuple[Any, int]] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        return {"cost_a_step": self.cost_a_step}

    def children(self, count: int) -> list[Child]:
        return draw_children(SPACE.sample, count, random.Random(0))

    def costs(self, children: Sequence[Child]) -> dict[str, list[float]]:
        return {"parameters": [SPACE.architecture(child).num_parameters for child in children]}

    def train_child(self, child: Child, seed: int) -> dict[str, Any]:
        self.trained.append((child, seed))
        noise = random.Random(f"{child_name(child)} {seed}").gauss(0, 0.01)
        return {"loss": self._loss(child) + noise}

    def train_supernet(self, setting: Setting, seed: int) -> dict[str, Any]:
        self.trained.append((setting, seed))
        noise = {"magic-t": 0.001, "spos": 0.3}.get(setting.strategy, 0.5)
        rng = random.Random(f"{setting.name} {seed}")
        scores = {child_name(c): self._loss(c) + rng.gauss(0, noise) for c in self.children(40)}
        if setting.strategy == "magic-a":
            scores = dict.fromkeys(scores, 0.7)
        steps = round(100 * setting.length)
        price = 2 if setting.strategy == "magic-a" else 1
        found = {
            "steps": steps,
            "cpu_seconds": self.cost_a_step * steps * price,
            "scores": scores,
            "constant_loss": 0.69,
            "interference": interference()["after"],
        }
        return found if steps else found | {"proxies": {"synflow": scores}}

    @staticmethod
    def _loss(child: Child) -> float:
        return 0.6 - 0.1 * sum(operator.kind == "mha" for operator in child)


def arguments(work: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser, "planted")
    return parser.parse_args(["--work", str(work), "--children", "12", *words])


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("study")
    words = ["--settings", "spos", "magic-t", "magic-a", "--equal-time", "--seeds", "2"]
    found = run_study(Planted(), arguments(work, *words))
    assert found is not None
    origin = {"command": "python study.py", "date": "2026-01-01", "machine": {"cpu": "a processor"}}
    return {"name": "planted", **origin, **found}


@given(
    st.sampled_from(STRATEGIES),
    st.sampled_from([0.33, 1.0, 3.0]),
    st.sampled_from([0.1, 1.0, 10.0]),
    st.sampled_from(["best", "fixed"]),
    st.integers(1, 3),
)
def test_a_setting_is_read_back_from_its_name(strategy, length, weight, anchor, replaced):
    setting = Setting(strategy, length=length, weight=weight, anchor=anchor, replaced_positions=replaced)
    assert Setting.parse(setting.name) == setting


def test_an_unknown_key_of_a_setting_is_refused():
    with pytest.raises(SystemExit, match=r"anchro is no key=value; keys are .*anchor"):
        Setting.parse("magic-a:anchro=fixed")


def test_every_setting_comes_once_and_the_untrained_and_spos_first(tmp_path):
    settings = wanted_settings(arguments(tmp_path, "--vary", *VARIED))
    assert settings[:2] == [UNTRAINED, Setting("spos")]
    assert len(settings) == len(set(settings))
    assert {Setting.parse(word) for words in VARIED.values() for word in words} <= set(settings)


def test_the_setting_that_sees_the_truth_is_found_and_the_collapsed_one_told(record):
    settings = record["settings"]
    assert record["best"] == "magic-t"
    assert settings["magic-t"]["kendall"]["value"] > 0.7 > settings["spos"]["kendall"]["value"]
    assert settings["magic-t"]["over_spos"]["low"] > 0
    assert settings["magic-a"]["collapsed"] == 2
    assert settings["magic-t"]["collapsed"] == 0
    assert record["ceiling"]["value"] == pytest.approx(settings["magic-t"]["kendall"]["value"], abs=0.2)
    # Counting attention is the truth here, and no supernet is above it.
    assert record["baselines"][0]["name"] in {"number of mha", "linear model of operator counts"}
    assert settings["magic-t"]["over_best_baseline"]["low"] <= 0


def test_equal_time_trains_a_dear_setting_for_fewer_steps(record):
    assert record["settings"]["magic-a:length=0.5"]["steps"] == 50
    assert "magic-t:length=1" not in record["settings"]


def test_a_study_that_was_stopped_trains_only_what_is_missing(tmp_path):
    world = Planted()
    assert run_study(world, arguments(tmp_path, "--only", "children")) is None
    assert len(world.trained) == 12 * 2
    with pytest.raises(JobError, match="the same command goes on"):
        run_study(world, arguments(tmp_path, "--settings", "spos", "--minutes", "-1"))
    assert len(world.trained) == 12 * 2
    run_study(world, arguments(tmp_path, "--settings", "spos", "--seeds", "1"))
    assert world.trained[24:] == [(UNTRAINED, 0), (Setting("spos"), 0)]
    run_study(world, arguments(tmp_path, "--settings", "spos", "fair", "--seeds", "1"))
    assert world.trained[26:] == [(Setting("fair"), 0)]
    # Other lengths, data or sizes are another study.
    other = Planted(cost_a_step=0.02)
    run_study(other, arguments(tmp_path, "--only", "children"))
    assert len(other.trained) == 12 * 2


def test_the_truth_is_taken_from_a_record_of_the_same_world_alone(record, tmp_path):
    path = tmp_path / "planted.json"
    path.write_text(json.dumps(record))
    world = Planted()
    words = ["--truth", str(path), "--settings", "spos", "--seeds", "1"]
    found = run_study(world, arguments(tmp_path, *words))
    assert found is not None
    assert world.trained == [(UNTRAINED, 0), (Setting("spos"), 0)]
    assert [row["truth"] for row in found["children"]] == [row["truth"] for row in record["children"]]
    assert found["cpu_seconds"]["children"] == 0
    with pytest.raises(SystemExit, match="of another world"):
        run_study(Planted(cost_a_step=0.02), arguments(tmp_path, *words))
    with pytest.raises(SystemExit, match="ask for 12 children or fewer"):
        run_study(world, arguments(tmp_path, *words, "--children", "13"))


def test_figures_are_drawn_and_only_the_marked_tables_of_a_record_are_filled(record, tmp_path):
    paths = write_figures(record, tmp_path)
    assert {path.name for path in paths} == {
        "planted-taus.png",
        "planted-distance.png",
        "planted-interference.png",
    }
    assert all(path.stat().st_size > 5000 for path in paths)
    page = tmp_path / "page.md"
    marks = "before\n<!-- table {} of {} -->\nold\n<!-- end of table -->\nafter\n"
    parts = [("ranking", "planted"), ("interference", "planted"), ("origin", "planted"), ("ranking", "other")]
    page.write_text("".join(marks.format(*part) for part in parts))
    write_tables(page, record)
    text = page.read_text()
    assert text.count("old") == 1
    assert text.count("before\n") == text.count("after\n") == 4
    tau = record["settings"]["magic-t"]["kendall"]
    assert f"| magic-t | 100 | 10.0 | {tau['value']:.2f} [{tau['low']:.2f}, {tau['high']:.2f}] |" in text
    assert "| magic-a (2 collapsed) |" in text
    assert "| magic-t, seed 1 |" in text
    once = page.read_text()
    write_tables(page, record)
    assert page.read_text() == once


def test_the_warm_study_takes_a_pair_task_by_its_switches(tmp_path):
    words = ["--work", str(tmp_path), "--data", "some/folder", "--pair", "sentence1", "sentence2"]
    world = interference_warm.make_world(interference_warm.parse_arguments(words))
    recipe = world.load("supernet.strategy=magic-at")
    assert recipe.task.text_columns == ("sentence1", "sentence2")
    assert recipe.data.source == "some/folder"
    assert recipe.supernet.strategy == "magic-at"
    assert recipe.data.max_length == 32
    assert not recipe.supernet.sample_within_budget


def test_the_study_of_images_varies_what_it_can_and_refuses_the_rest():
    world = interference_images.Digits(steps=2, child_steps=2, num_pairs=2)
    children = world.children(8)
    assert children == world.children(12)[:8]
    assert len({canonical(child) for child in children}) == 8
    assert world.costs(children[:1])["parameters"] == [sum(block.num_parameters for block in children[0])]
    assert world.train_child(children[0], 0)["loss"] == world.train_child(children[0], 0)["loss"]
    with pytest.raises(SystemExit, match=r"magic-a:anchor=fixed: only length and weight"):
        world.train_supernet(Setting.parse("magic-a:anchor=fixed"), 0)
