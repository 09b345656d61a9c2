"""`interference` and `rank` on a tiny run: they resume, say what they found, and keep it by the supernet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bertcompress.cli import app as cli
from bertcompress.pipeline import run_recipe
from bertcompress.recipe import load_recipe
from bertcompress.space import Architecture

QUICK = ["supernet.steps=10", "teacher.epochs=1", "latency.num_heldout=2"]


def invoke(*words: str | Path | int) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def macs_for_latency(count_latencies: Callable[[Callable[[Architecture], float]], None]) -> None:
    count_latencies(lambda architecture: 1 + architecture.macs(8) / 1e4)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_both_commands_from_a_recipe_and_again_from_its_folder(tiny_recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sets = [word for override in QUICK for word in ("--set", override)]
    measured = invoke(
        "interference", tiny_recipe, "--run-dir", folder, "--pairs", 3, "--batch-size", 8, *sets
    )
    assert measured.exit_code == 0, measured.output
    found = read(folder / "supernet/interference.json")
    assert [row["distance"] for row in found["after"]["by_distance"]] == [1]
    assert found["before"]["num_pairs"] == found["after"]["num_pairs"] == 3
    assert found["before"]["by_distance"] != found["after"]["by_distance"]
    assert found["after"]["mixing"]["both"]["cosines"][-1]["value"] == pytest.approx(1, abs=1e-4)
    assert not (folder / "search").exists()

    command = ("rank", folder, "--children", 6, "--seeds", 2, "--steps", 2, "--any-size")
    assert (ranked := invoke(*command)).exit_code == 0, ranked.output
    found = read(folder / "supernet/ranking.json")
    assert found["verdict"].split(":")[0] in ranked.output.replace("\n", " ")
    assert found["num_children"] == len({row["child"] for row in found["children"]}) == 6
    names = {row["name"] for row in found["baselines"]}
    assert {"parameters", "MACs", "gradient_norm", "snip", "untrained supernet"} <= names
    assert (folder / "supernet/plots/ranking.png").exists()
    results = {path: path.read_bytes() for path in (folder / "rank").glob("*/*.json")}
    assert len(results) == 12

    assert (again := invoke(*command)).exit_code == 0, again.output
    assert {path: path.read_bytes() for path in (folder / "rank").glob("*/*.json")} == results
    repeated = read(folder / "supernet/ranking.json")
    assert repeated | {"seconds": 0} == found | {"seconds": 0}

    # A supernet trained anew drops what was said of the old one, and keeps the stand-alone work.
    run_recipe(load_recipe(tiny_recipe, [*QUICK, "supernet.steps=11"]), folder, "supernet")
    assert not (folder / "supernet/ranking.json").exists()
    assert {path: path.read_bytes() for path in (folder / "rank").glob("*/*.json")} == results

    refused = invoke("rank", folder, "--set", "seed=1")
    assert refused.exit_code == 2
    assert "go with a recipe" in refused.output


def test_a_folder_without_a_supernet_says_what_to_run(tiny_recipe: Path, tmp_path: Path) -> None:
    run_recipe(load_recipe(tiny_recipe, QUICK), tmp_path / "run", "data")
    refused = invoke("rank", tmp_path / "run")
    assert refused.exit_code == 2
    assert "--until supernet" in refused.output


def test_neither_folder_nor_recipe(tmp_path: Path) -> None:
    assert invoke("interference", tmp_path / "nothing").exit_code == 2
