"""A run that cannot be is refused at once: one message, an exit code, no torch loaded and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bertcompress.cli.options import EXIT_REFUSED

HEAVY = ("torch", "transformers", "accelerate")
LOADS_DATA = ("datasets", "pandas")

RECIPE = """\
name: tiny
description: A recipe to break
task: {text_columns: [text], label_column: label}
data: {source: reviews.csv}
teacher: {source: ./teacher}
space: {operators: [mha3, ffn384, conv3, identity]}
budget: {num_parameters: 15000000}
"""

# What is wrong -> the text that replaces a part of RECIPE, and a word that the message must hold.
BAD_RECIPES = {
    "unknown key": ("num_parameters:", "num_paramters:", "num_parameters"),
    "unknown section": ("budget:", "budgets:", "budget"),
    "no budget": ("{num_parameters: 15000000}", "{}", "budget"),
    "two latency budgets": ("{num_parameters: 15000000}", "{latency_ms: 3, speedup: 4}", "speedup"),
    "negative budget": ("15000000", "-1", "budget.num_parameters"),
    "word for a number": ("15000000", "many", "budget.num_parameters"),
    "unknown operator": ("conv3", "lstm3", "lstm3"),
    "even kernel": ("conv3", "conv4", "conv4"),
    "three text columns": ("[text]", "[a, b, c]", "text_columns"),
    "not YAML": ("name: tiny", "name: [tiny", "bad.yaml"),
}

# What is wrong -> the content of reviews.csv, and what the message must hold.
BAD_DATA: dict[str, tuple[str | None, str]] = {
    "no file": (None, "no such file"),
    "empty file": ("", "the file is empty"),
    "header alone": ("text,label\n", "holds no rows"),
    "no label column": ("text,verdict\na,pos\nb,neg\n", "no column 'label'"),
    "no text column": ("review,label\na,pos\nb,neg\n", "no column 'text'"),
    "a row without a text": ("text,label\na,pos\n,neg\n", "column 'text' is empty in 1 of 2 rows"),
    "one class": ("text,label\na,pos\nb,pos\n", "one class only"),
    "lists for labels": ("text,label\na,\"['x', 'y']\"\nb,['x']\n", "multi-label-classification"),
    "measurements for labels": ("text,label\na,0.25\nb,1.5\n", "are no classes"),
    "ragged rows": ("text,label\na,pos\nb,neg,c,d\n", "line 3: not readable as csv: it has 4 fields"),
}

# What is wrong -> the text that replaces a part of RECIPE, and what the message must hold.
BAD_NAMES = {
    "data set on no Hub": ("reviews.csv", "nobody/no-such-data", "nobody/no-such-data"),
    "data of no package": ("reviews.csv", "'package:no-such-data'", "pip install no-such-data"),
    "teacher on no Hub": ("./teacher", "nobody/no-such-model", "nobody/no-such-model"),
    "teacher of no package": ("./teacher", "'package:no-such-model'", "pip install no-such-model"),
    "teacher in no folder": ("./teacher", "./no-such-folder", "no config.json there"),
}

PROGRAM = """
import contextlib, io, json, os, sys
from bertcompress.cli.app import app
for name in json.loads(sys.argv[1]):
    os.chdir(name)
    code, said = 0, io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            app(["run", "bad.yaml"])
    except SystemExit as stop:
        code = stop.code
    print(json.dumps([name, code, said.getvalue(), sorted(sys.modules)]))
"""


def refused(
    folder: Path, recipes: dict[str, str], files: dict[str, str | None], file_name: str = "reviews.csv"
) -> dict[str, list[Any]]:
    """Each recipe run in a folder of its own, with its data file, by one interpreter without a network.

    By name: the exit code, what was said, and the heavy modules that were loaded by then.
    """
    for name, recipe in recipes.items():
        (folder / name / "teacher").mkdir(parents=True)
        (folder / name / "teacher/config.json").write_text("{}", encoding="utf-8")
        (folder / name / "bad.yaml").write_text(recipe, encoding="utf-8")
        content = files.get(name, "text,label\na,pos\nb,neg\n")
        if content is not None:
            (folder / name / file_name).write_text(content, encoding="utf-8")
    before = sorted(folder.rglob("*"))
    places = json.dumps([str(folder / name) for name in recipes])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, places], capture_output=True, text=True, check=True, env=environment
    )
    assert sorted(folder.rglob("*")) == before
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(name).name: row for name, *row in rows}


def assert_refused(row: list[Any], words: str, unloaded: tuple[str, ...]) -> None:
    code, said, modules = row
    assert code == EXIT_REFUSED, said
    assert words in said
    assert "Traceback" not in said
    assert [name for name in unloaded if name in modules] == []


def test_a_bad_recipe_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    recipes = {}
    for name, (old, new, _) in BAD_RECIPES.items():
        assert old in RECIPE
        recipes[name] = RECIPE.replace(old, new)
    rows = refused(tmp_path / "runs", recipes, {})
    assert len(rows) == len(BAD_RECIPES) == 10
    for name, row in rows.items():
        assert_refused(row, BAD_RECIPES[name][2], (*HEAVY, *LOADS_DATA))


def test_bad_data_is_refused_without_torch(tmp_path: Path) -> None:
    files = {name: content for name, (content, _) in BAD_DATA.items()}
    rows = refused(tmp_path / "runs", dict.fromkeys(BAD_DATA, RECIPE), files)
    assert len(rows) == len(BAD_DATA) == 10
    for name, row in rows.items():
        assert_refused(row, BAD_DATA[name][1], HEAVY)


def test_what_the_loader_logs_is_not_said_beside_the_message(tmp_path: Path) -> None:
    recipe = RECIPE.replace("reviews.csv", "reviews.jsonl")
    content = '{"text": "a", "label": 1}\n{oops\n'
    rows = refused(tmp_path / "runs", {"broken": recipe}, {"broken": content}, "reviews.jsonl")
    assert_refused(rows["broken"], "not readable as jsonl", HEAVY)
    assert rows["broken"][1].startswith("DataError: reviews.jsonl")


def test_mistyped_names_are_refused_without_torch(tmp_path: Path) -> None:
    recipes = {name: RECIPE.replace(old, new) for name, (old, new, _) in BAD_NAMES.items()}
    rows = refused(tmp_path / "runs", recipes, {})
    assert rows.keys() == BAD_NAMES.keys()
    for name, row in rows.items():
        assert_refused(row, BAD_NAMES[name][2], HEAVY)
