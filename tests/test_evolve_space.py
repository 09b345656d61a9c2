"""`evolve-space` on a tiny run: it resumes, repeats, keeps its laws, and its recipe is one that runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bertcompress.cli import app as cli
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.pipeline import run_recipe
from bertcompress.pipeline.evolved_space import evolution_finding
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import MANIFEST, RunFolder
from bertcompress.pipeline.stages import evolve_space as stage
from bertcompress.pipeline.stages.evolve_space import EvolutionSettings, evolve_space
from bertcompress.recipe import load_recipe
from bertcompress.space import KINDS, Architecture
from bertcompress.training import loop as training

SETS = ["teacher.epochs=1", "latency.num_heldout=2", "supernet.steps=10", "supernet.strategy=spos"]
QUICK = EvolutionSettings(generations=3, steps=20)
MS = dict.fromkeys(KINDS, 0.1) | {"conv": 0.9, "gconv": 0.9, "mha": 0.2}


def invoke(*words: str | Path | int) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def dear_convolutions(count_latencies: Callable[[Callable[[Architecture], float]], None]) -> None:
    """Latencies by counting, convolutions dear for their MACs."""
    count_latencies(
        lambda architecture: (
            1 + sum(MS[operator.kind] + operator.size / 100 for operator in architecture.operators)
        )
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def prepared(recipe: Path, folder: Path, *further: str) -> Run:
    loaded = load_recipe(recipe, [*SETS, *further])
    run_recipe(loaded, folder, "teacher")
    return Run(loaded, RunFolder(folder), None)


def without_time(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"generations": [record | {"seconds": 0} for record in result["generations"]]}


def test_killed_anywhere_it_ends_like_never_killed(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(tiny_recipe, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    killed = Run(run.recipe, RunFolder(tmp_path / "killed"), None)
    whole = evolve_space(run, QUICK)

    update, taken = training.update, []

    def dies_in_the_second_generation(*arguments: Any, **named: Any) -> Any:
        taken.append(1)
        if len(taken) == QUICK.steps + 8:
            raise KeyboardInterrupt
        return update(*arguments, **named)

    def dies_between_training_and_selection(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    for place, dying in (
        ("bertcompress.training.loop.update", dies_in_the_second_generation),
        ("bertcompress.pipeline.stages.evolve_space.evolve", dies_between_training_and_selection),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, dying)
            with pytest.raises(KeyboardInterrupt):
                evolve_space(killed, QUICK)
        finished = {path.parent.name for path in (tmp_path / "killed/evolve-space").glob("*/generation.json")}
        assert finished == {"generation-1"}
    assert len(taken) == QUICK.steps + 8
    assert without_time(evolve_space(killed, QUICK)) == without_time(whole)
    ours, theirs = (each.path("evolve-space", "recipe.yaml").read_bytes() for each in (run, killed))
    assert ours == theirs
    assert not list((tmp_path / "run/evolve-space").rglob("*.safetensors"))

    # The same once more is read, other settings are not.
    with monkeypatch.context() as patched:
        patched.setattr(stage, "_generation", None)
        assert evolve_space(run, QUICK) == whole
        with pytest.raises(TypeError):
            evolve_space(run, EvolutionSettings(generations=1, steps=20))


def test_the_evolved_recipe_keeps_the_laws_and_runs(tiny_recipe: Path, tmp_path: Path) -> None:
    folder, evolved = tmp_path / "run", tmp_path / "evolved.yaml"
    sets = [word for override in SETS for word in ("--set", override)]
    command = ("evolve-space", tiny_recipe, "--run-dir", folder, "--generations", 2, "--steps", 10, *sets)
    done = invoke(*command, "--output", evolved)
    assert done.exit_code == 0, done.output
    result = read(folder / "evolve-space/evolution.json")

    assert "Evolution of the space" in done.output
    assert result["after"] != result["before"]
    assert len(result["generations"]) == 2
    for operators, reference, fitting in zip(
        result["after"], result["reference"], result["feasible_child"], strict=True
    ):
        assert {reference, fitting} <= set(operators)
    for saving in result["false_savings"]:
        macs = {row["operator"]: row["macs"] for row in result["operators"]}
        assert macs[saving["operator"]] < macs[saving["instead_of"]]
        assert saving["ms"][0] > saving["ms"][1]
    assert all(0 < share <= 1 for share in result["share_within"])
    assert "conv3" in {saving["operator"] for saving in result["false_savings"]}

    assert invoke("validate", evolved).exit_code == 0
    recipe = load_recipe(evolved)
    assert recipe.name == "tiny-evolved"
    run_recipe(recipe, tmp_path / "evolved", "search")
    again = Run(recipe, RunFolder(tmp_path / "evolved"), None)
    assert [[operator.name for operator in position] for position in again.space.choices] == result["after"]
    assert read(tmp_path / "evolved/search/search.json")["finalists"]

    # What was found of another teacher is not told.
    run = Run(load_recipe(folder / "recipe.yaml"), RunFolder(folder), None)
    assert evolution_finding(run) == {"evolution": result}
    manifest = read(folder / MANIFEST)
    manifest["stages"]["teacher"]["inputs_hash"] = "another"
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert evolution_finding(run) == {}


def test_with_a_trimmed_vocabulary_it_trains_on_the_ids_of_the_children(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "actor" stands in the teacher's vocabulary and in no text, so the ids of the two differ.
    sentences = tmp_path / "sentences.jsonl"
    sentences.write_text(sentences.read_text(encoding="utf-8").replace("actor", "film"), encoding="utf-8")
    run = prepared(tiny_recipe, tmp_path / "run", "space.vocabulary=corpus")
    trained: list[TokenizedSplit] = []
    monkeypatch.setattr(stage, "train_fitness", lambda chain, split, *_, **__: trained.append(split))
    evolve_space(run, EvolutionSettings(generations=1, steps=1))
    (split,) = trained
    assert run.kept_tokens is not None
    assert split.input_ids.max() < len(run.kept_tokens) == run.space.dimensions.vocab_size
    # The same texts: the kept tokens' ids of the teacher are the teacher's split.
    np.testing.assert_array_equal(run.kept_tokens[split.input_ids], run.teacher_splits["train"].input_ids)
    assert not np.array_equal(split.input_ids, run.teacher_splits["train"].input_ids)


def test_a_folder_without_a_teacher_says_what_to_run(tiny_recipe: Path, tmp_path: Path) -> None:
    run_recipe(load_recipe(tiny_recipe, SETS), tmp_path / "run", "data")
    refused = invoke("evolve-space", tmp_path / "run")
    assert refused.exit_code == 2
    assert "--until teacher" in refused.output
