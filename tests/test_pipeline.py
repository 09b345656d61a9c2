"""The whole flow on a tiny teacher and a handful of sentences: every stage does its true work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from bertcompress.errors import BudgetError, DataError, RunFolderError, SpaceError
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.files import read_json
from bertcompress.pipeline import STAGE_NAMES, RunResult, flow, run_recipe
from bertcompress.pipeline.flow import STAGES
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.trained import keep_result
from bertcompress.recipe import Recipe, load_recipe
from bertcompress.training import loop as training

RANKING = {
    "verdict": "planted verdict",
    "warnings": [],
    "num_children": 5,
    "num_seeds": 1,
    "confidence": 0.9,
    "ceiling": None,
    "baselines": [],
    "children": [],
    "supernet": {
        "kendall": {"value": 0.5, "low": 0.1, "high": 0.8},
        "spearman": 0.5,
        "pearson": 0.5,
        "regret": {"1": 0.1, "3": 0.0, "5": 0.0},
        "chance_regret": 0.2,
    },
}


def test_the_flow_delivers_and_a_second_run_keeps_everything(tiny_recipe: Path, tmp_path: Path) -> None:
    further = "budget.latencies=[{batch_size: 2, speedup: {min: 0.2}}]"
    budgets = ["budget.size_mib=[0.01, 1]", further]
    recipe = load_recipe(tiny_recipe, budgets)
    result = run_recipe(recipe, tmp_path / "run")
    assert_delivered(result, tmp_path / "run")

    manifest = (tmp_path / "run/manifest.json").read_bytes()
    again = run_recipe(recipe, tmp_path / "run")
    assert (tmp_path / "run/manifest.json").read_bytes() == manifest
    assert again.report == result.report

    page = tmp_path / "run/report/report.html"
    page.write_text("of a version before", encoding="utf-8")
    assert run_recipe(recipe, tmp_path / "run").report == result.report
    assert page.read_text(encoding="utf-8") == "of a version before"
    assert run_recipe(recipe, tmp_path / "run", "report").report["models"] == result.report["models"]
    assert "<h2>Models</h2>" in page.read_text(encoding="utf-8")

    # The measured latencies are remembered, so that a fresh folder comes to the same winner and metrics.
    fresh = run_recipe(recipe, tmp_path / "fresh")
    for ours, theirs in zip(fresh.report["models"], result.report["models"], strict=True):
        assert ours["architecture"] == theirs["architecture"]
        assert ours["metrics"] == theirs["metrics"]

    # What is found out about the supernet later on is added to the report that is there.
    kept = keep_result(Run(recipe, RunFolder(tmp_path / "fresh"), None), "ranking", RANKING)
    assert kept == tmp_path / "fresh/supernet/ranking.json"
    assert "planted verdict" in (tmp_path / "fresh/report/report.md").read_text(encoding="utf-8")

    changed = load_recipe(tiny_recipe, [*budgets, "student.epochs=1", "student.baseline=false"])
    partly = run_recipe(changed, tmp_path / "run")
    stages = json.loads((tmp_path / "run/manifest.json").read_text())["stages"]
    before = json.loads(manifest)["stages"]
    kept = [name for name in STAGE_NAMES if stages[name] == before[name]]
    assert kept == [
        "data",
        "vocabulary",
        "latency",
        "teacher",
        "transfer",
        "supernet",
        "search",
        "alternatives",
    ]
    assert [model["role"] for model in partly.report["models"]] == ["teacher", "winner"]


def test_a_changed_key_reaches_only_what_depends_on_it(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    task = {"text_columns": ["text"], "label_column": "label", "label_names": ["negative", "positive"]}

    def make(run: Run, name: str) -> None:
        made.append(name)
        run.folder.write_json("data/task.json", task)

    silent = [replace(stage, make=partial(make, name=stage.name)) for stage in STAGES[:-1]]
    monkeypatch.setattr(flow, "STAGES", (*silent, STAGES[-1]))

    def rerun(*overrides: str) -> list[str]:
        made.clear()
        run_recipe(load_recipe(tiny_recipe, list(overrides)), tmp_path / "run", "benchmark")
        return list(made)

    assert rerun() == list(STAGE_NAMES[:-1])
    assert rerun() == []
    after_space = ["supernet", "search", "student", "export", "benchmark"]
    after_teacher = ["transfer", *after_space]
    assert rerun("budget.num_parameters=9500") == ["latency", *after_space]
    assert rerun("budget.num_parameters=9500", "teacher.epochs=3") == ["teacher", *after_teacher]
    trimmed = ["budget.num_parameters=9500", "teacher.epochs=3", "space.vocabulary=corpus"]
    assert rerun(*trimmed) == ["vocabulary", "latency", *after_teacher]
    copied = tmp_path / "other-teacher"
    shutil.copytree(tmp_path / "teacher-files", copied)
    assert rerun(f"teacher.source={copied}") == list(STAGE_NAMES[:-1])
    assert tuple(stage.name for stage in STAGES) == STAGE_NAMES


def assert_delivered(result: RunResult, folder: Path) -> None:
    teacher, baseline, winner = result.report["models"]
    assert [teacher["role"], baseline["role"], winner["role"]] == ["teacher", "baseline", "winner"]
    assert teacher["metrics"]["test"]["accuracy"] > 0.8
    assert winner["metrics"]["test"]["accuracy"] > 0.7
    assert [budget["name"] for budget in result.report["budgets"]] == [
        "num_parameters",
        "size_mib",
        "latency_ms",
        "latency_ms@2x8-1t-fp32-cpu",
    ]
    assert all(budget["conditions"].startswith("batch") for budget in result.report["budgets"][2:])
    assert result.budgets_met
    assert winner["num_parameters"] <= 9000
    assert all(row["num_parameters"] <= 9000 for row in result.report["search"]["evaluated"])
    assert result.report_path is not None
    page = result.report_path.read_text(encoding="utf-8").replace("&#39;", "'")
    assert result.report["verdict"].partition(". ")[0] in page
    assert "of the teacher's accuracy" in result.report["verdict"]
    assert result.report["data"]["report"]["rows"] == result.report["task"]["rows"]

    shipped = folder / "export/winner"
    answers = OnnxClassifier(shipped).classify(["the great film and story", "rather dull scene"])
    assert [answer["label"] for answer in answers] == ["positive", "negative"]
    loaded = AutoModelForSequenceClassification.from_pretrained(shipped)
    assert sum(parameter.numel() for parameter in loaded.parameters()) == winner["num_parameters"]
    assert loaded.config.id2label == {0: "negative", 1: "positive"}


def test_a_run_can_stop_early_and_random_weights_can_start_it(tiny_recipe: Path, tmp_path: Path) -> None:
    overrides = [
        "supernet.warm_start=none",
        "supernet.strategy=spos",
        "supernet.steps=3",
        "search.searcher=parsec",
        "search.num_finalists=1",
        "space.hidden_size=24",
        "latency.precision=int8",
    ]
    stopped = run_recipe(load_recipe(tiny_recipe, overrides), tmp_path / "run", "search")
    assert stopped.report_path is None
    assert (tmp_path / "run/search/search.json").exists()
    assert not (tmp_path / "run/student").exists()

    # What parsec learned starts another search; the file is one of that stage's inputs.
    learned = tmp_path / "run/search/distribution.json"
    start = tmp_path / "start.json"
    learned.rename(start)
    going_on = load_recipe(tiny_recipe, [*overrides, f"search.start_distribution={start}"])
    run_recipe(going_on, tmp_path / "run", "search")
    assert learned.read_bytes() != start.read_bytes()
    start.unlink()
    with pytest.raises(RunFolderError, match="start_distribution"):
        run_recipe(going_on, tmp_path / "run", "search")


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_a_run_killed_again_and_again_ends_as_one_never_killed(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["teacher.epochs=4", "supernet.steps=60", "student.epochs=3", "search.num_finalists=1"]
    recipe = load_recipe(tiny_recipe, short)
    run_recipe(recipe, tmp_path / "cut", "latency")
    shutil.copytree(tmp_path / "cut", tmp_path / "whole")
    run_recipe(recipe, tmp_path / "whole", "student")
    updates_left, whole_update = 0, training.update

    def update(*arguments: Any) -> Tensor:
        nonlocal updates_left
        updates_left -= 1
        if updates_left < 0:
            raise KilledError
        return whole_update(*arguments)

    monkeypatch.setattr(training, "update", update)
    num_kills = 0
    while True:
        updates_left = 45
        try:
            run_recipe(recipe, tmp_path / "cut", "student")
            break
        except KilledError:
            num_kills += 1
    assert num_kills >= 3
    whole, cut = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.safetensors")}
        for folder in (tmp_path / "whole", tmp_path / "cut")
    )
    assert {path.parts[0] for path in whole} >= {"teacher", "transfer", "supernet", "student"}
    assert cut.keys() == whole.keys()
    assert [path for path, content in whole.items() if cut[path] != content] == []


def test_an_impossible_budget_is_said_before_training(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny_recipe, ["budget.num_parameters=10"])
    with pytest.raises(BudgetError, match="smallest reachable"):
        run_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run/teacher").exists()


def test_another_width_cannot_start_from_the_teacher(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny_recipe, ["space.hidden_size=24"])
    with pytest.raises(SpaceError, match="warm_start"):
        run_recipe(recipe, tmp_path / "run")


@pytest.mark.parametrize("override", ["task.label_column=verdict", "task.label_names=[a, b]"])
def test_bad_data_leaves_no_folder(tiny_recipe: Path, tmp_path: Path, override: str) -> None:
    recipe: Recipe = load_recipe(tiny_recipe, [override])
    with pytest.raises(DataError):
        run_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_left_alone(tiny_recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("precious")
    with pytest.raises(RunFolderError):
        run_recipe(load_recipe(tiny_recipe), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_two_processes_make_one_run(tiny_recipe: Path, tmp_path: Path) -> None:
    quick = ["teacher.epochs=1", "supernet.steps=10", "supernet.alignment.check_every=4"]
    overrides = [word for value in quick for word in ("--set", value)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += ["-m", "bertcompress.cli"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [*launch, "search", str(tiny_recipe), "--run-dir", str(tmp_path / "run"), *overrides]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("search: finished in") == 1
    together = read_json(tmp_path / "run/search/search.json")

    # Another bound on memory makes the search anew, by this process alone, with the same supernet.
    run_recipe(load_recipe(tiny_recipe, [*quick, "search.cache_mib=1"]), tmp_path / "run", "search")
    alone = read_json(tmp_path / "run/search/search.json")
    assert alone["evaluated"] == together["evaluated"]
