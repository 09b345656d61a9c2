"""The command line: cheap to ask, and clear about what it did; test_refusals.py has what cannot be run."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from bertcompress.cli import app as cli
from bertcompress.cli import old_words
from bertcompress.cli import options as command_line
from bertcompress.cli.recipes import recipes
from bertcompress.cli.validate import validate
from bertcompress.data.guess import guess_columns
from bertcompress.errors import BertCompressError
from bertcompress.pipeline import STAGE_NAMES
from bertcompress.recipe import load_recipe
from bertcompress.sources.data import load_source

HEAVY = ("torch", "transformers", "datasets", "onnxruntime", "sklearn", "scipy")

GOOD = """\
name: tiny
description: A recipe to break
task: {text_columns: [text], label_column: label}
data: {source: reviews.csv}
space: {operators: [mha3, ffn384, conv3, identity]}
budget: {num_parameters: 15000000}
"""


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def write_rows(path: Path) -> None:
    rows = [f"a good film {index},{'pos' if index % 2 else 'neg'}" for index in range(40)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reviews(in_folder: Path) -> Path:
    rows = [
        f'"a film, number {number}, that goes on",{"pos" if number % 2 else "neg"}' for number in range(20)
    ]
    path = in_folder / "My Reviews.csv"
    path.write_text("\n".join(["review,verdict", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["recipes"], ["--version"], ["run", "no-such"]]
)
def test_light_commands_import_nothing_heavy(words: list[str], in_folder: Path) -> None:
    program = (
        "import sys\nfrom bertcompress.cli.app import app\n"
        f"try:\n    app({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stdout


def test_help_has_the_commands_in_groups_and_none_of_the_old_words() -> None:
    shown = invoke("--help")
    assert shown.exit_code == 0
    for group, commands in cli.GROUPS.items():
        assert group in shown.output
        for command in commands:
            assert f" {command.__name__.replace('_', '-')} " in shown.output
    for word in (*old_words.STAGE_WORDS, "latency"):
        assert f"│ {word} " not in shown.output
        assert invoke(word, "--help").exit_code == 0


def test_every_command_is_a_function_that_can_be_called(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "good.yaml").write_text(GOOD, encoding="utf-8")
    for commands in cli.GROUPS.values():
        for command in commands:
            home = import_module(f"bertcompress.cli.{command.__name__}")
            assert getattr(home, command.__name__) is command
    recipes()
    assert "reviews-mini" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as refused:
        validate("good.yaml", ["sead=7"])
    assert refused.value.exit_code == command_line.EXIT_REFUSED


def test_until_names_the_stages(in_folder: Path) -> None:
    shown = invoke("run", "--help").output
    assert all(stage in shown for stage in STAGE_NAMES)
    refused = invoke("run", "reviews-mini", "--until", "supernett")
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert "'supernett' is no stage; use one of data," in refused.stderr


def test_shipped_recipes_are_listed_and_valid() -> None:
    listed = invoke("recipes")
    names = [line.split()[0] for line in listed.output.splitlines()]
    assert "reviews-mini" in names
    for name in names:
        load_recipe(name)
    checked = invoke("validate", "reviews-mini")
    assert checked.exit_code == 0, checked.output


def test_unknown_recipe_names_the_nearest(in_folder: Path) -> None:
    refused = invoke("run", "reviews-mni")
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert "reviews-mini" in refused.stderr
    assert "Traceback" not in refused.output


def test_good_recipe_is_valid_and_a_bad_override_is_not(in_folder: Path) -> None:
    (in_folder / "good.yaml").write_text(GOOD, encoding="utf-8")
    write_rows(in_folder / "reviews.csv")
    assert invoke("validate", "good.yaml").exit_code == 0
    assert invoke("validate", "good.yaml", "--set", "seed=7").exit_code == 0
    refused = invoke("validate", "good.yaml", "--set", "budget.latncy_ms=3")
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert "latency_ms" in refused.stderr


def test_init_writes_a_recipe_that_is_valid(reviews: Path) -> None:
    written = invoke("init", reviews)
    assert written.exit_code == 0, written.output
    assert "text: review" in written.output
    assert "label: verdict" in written.output
    assert (reviews.parent / "my-reviews.yaml").exists()
    checked = invoke("validate", "my-reviews.yaml")
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    "column", ["text", 'a "quoted": name', "line\u2028break", "emoji \U0001f600", "# no"]
)
def test_init_names_any_column_and_path_as_it_is(in_folder: Path, column: str) -> None:
    path = in_folder / "my [data] 50% # {x}: 'y'.jsonl"
    rows = [{column: f"a longer text {number}", "label": number % 2} for number in range(20)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    written = invoke("init", path, "-o", "mine.yaml")
    assert written.exit_code == 0, written.output
    recipe = load_recipe("mine.yaml")
    assert recipe.task.text_columns == (column,)
    assert recipe.data.source == str(path)
    assert len(load_source(recipe.data.source).splits["train"]) == 20


def test_init_reads_folders_and_every_kind_and_says_what_a_run_would_refuse(in_folder: Path) -> None:
    (in_folder / "mine").mkdir()
    (in_folder / "mine/train.tsv").write_text("text\tlabel\n" + "a b\tx\nc d\ty\n" * 5, encoding="utf-8")
    written = invoke("init", "mine")
    assert written.exit_code == 0, written.output
    assert "a run will refuse this as it stands" in written.stderr
    assert "class 'x' has 1 different texts" in written.stderr


def test_init_keeps_an_existing_file_unless_forced(reviews: Path) -> None:
    kept = reviews.parent / "mine.yaml"
    kept.write_text("precious", encoding="utf-8")
    refused = invoke("init", reviews, "-o", kept)
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert "--force" in refused.stderr
    assert kept.read_text(encoding="utf-8") == "precious"
    assert invoke("init", reviews, "-o", kept, "--force").exit_code == 0
    assert "verdict" in kept.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("empty.csv", b"", "empty"),
        ("header.csv", b"text,label\n", "no rows"),
        ("one.csv", b"text;label\na;1\n", "commas"),
        ("latin.csv", "text,label\ncaf\xe9,1\n".encode("latin-1"), "UTF-8"),
        ("broken.jsonl", b'{"text": "a"\n', "not readable"),
        ("list.jsonl", b'["a", "b"]\n', "line 1"),
        ("nolabel.csv", b"a,b\nx,1\ny,2\nz,3\n", "looks like a label"),
        ("onlylabel.jsonl", b'{"label": "a"}\n{"label": "b"}\n', "text"),
        ("table.xlsx", b"PK", ".jsonl"),
        ("missing.csv", None, "no such file"),
    ],
)
def test_init_refuses_a_bad_file(name: str, content: bytes | None, named: str, in_folder: Path) -> None:
    if content is not None:
        (in_folder / name).write_bytes(content)
    refused = invoke("init", name)
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert named in refused.stderr
    assert not list(in_folder.glob("*.yaml"))


def test_guess_prefers_names_and_knows_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"idx": n, "hypothesis": "b c", "premise": "a " * 40, "label": n % 3} for n in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    guess = guess_columns(str(path), load_source(str(path)).splits["train"])
    assert guess.text_columns == ("premise", "hypothesis")
    assert (guess.label_column, guess.label_values) == ("label", ("0", "1", "2"))
    assert guess.max_length == 64


def test_errors_and_interrupts_have_their_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as refused, command_line.plain_errors():
        raise BertCompressError("budget.latency_ms: too small")
    assert refused.value.exit_code == command_line.EXIT_REFUSED
    assert capsys.readouterr().err == "BertCompressError: budget.latency_ms: too small\n"
    with pytest.raises(typer.Exit) as stopped, command_line.plain_errors("bertcompress run mine.yaml"):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == command_line.EXIT_INTERRUPTED
    assert "go on with: bertcompress run mine.yaml" in capsys.readouterr().err
    # A bug keeps its traceback.
    with pytest.raises(ZeroDivisionError), command_line.plain_errors():
        raise ZeroDivisionError


class FakePipeline:
    """Stands for the pipeline module, so that `run` trains nothing: records its call, ends as it is told."""

    def __init__(self, *, budgets_met: bool = True, interrupt: bool = False) -> None:
        self.budgets_met = budgets_met
        self.interrupt = interrupt
        self.calls: list[tuple[str, Path, str | None]] = []

    def run_recipe(
        self, recipe: Any, run_dir: Path, until: str | None = None, *, console: Any
    ) -> SimpleNamespace:
        self.calls.append((recipe.name, run_dir, until))
        if self.interrupt:
            raise KeyboardInterrupt
        budget = {
            "name": "num_parameters",
            "limit": 5,
            "value": 9,
            "met": self.budgets_met,
            "conditions": None,
        }
        report = {"name": recipe.name, "budgets": [budget], "models": []}
        return SimpleNamespace(
            report=report, budgets_met=self.budgets_met, report_path=run_dir / "report.html"
        )


@pytest.mark.parametrize(
    ("until", "fake", "code"),
    [
        (None, FakePipeline(), 0),
        (None, FakePipeline(budgets_met=False), command_line.EXIT_BUDGET_BROKEN),
        ("report", FakePipeline(budgets_met=False), command_line.EXIT_BUDGET_BROKEN),
        ("search", FakePipeline(budgets_met=False), 0),
        ("teacher", FakePipeline(interrupt=True), command_line.EXIT_INTERRUPTED),
    ],
)
def test_run_ends_with_the_code_of_its_outcome(
    until: str | None, fake: FakePipeline, code: int, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bertcompress.pipeline", fake)
    (in_folder / "good.yaml").write_text(GOOD, encoding="utf-8")
    stop = [] if until is None else ["--until", until]
    done = invoke("run", "good.yaml", "--set", "seed=7", *stop)
    assert done.exit_code == code, done.output
    assert fake.calls == [("tiny", Path("runs/tiny"), until)]
    if code == command_line.EXIT_BUDGET_BROKEN:
        assert "num_parameters" in done.stderr
    if code == command_line.EXIT_INTERRUPTED:
        assert f"bertcompress run good.yaml --set seed=7 --until {until}" in done.stderr


@pytest.mark.parametrize("word", ["search", *old_words.STAGE_WORDS])
def test_a_stages_word_still_runs_up_to_it_and_says_the_new_one(
    word: str, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "bertcompress.pipeline", fake)
    (in_folder / "good.yaml").write_text(GOOD, encoding="utf-8")
    done = invoke(word, "good.yaml", "--run-dir", "mine")
    assert done.exit_code == 0, done.output
    assert fake.calls == [("tiny", Path("mine"), word)]
    assert f"run RECIPE --until {word}`" in done.stderr


def test_benchmark_wants_exported_folders_and_whole_numbers(in_folder: Path) -> None:
    refused = invoke("benchmark", in_folder)
    assert refused.exit_code == command_line.EXIT_REFUSED
    assert ".onnx" in refused.stderr
    (in_folder / "model.onnx").write_bytes(b"")
    (in_folder / "model_int8.onnx").write_bytes(b"")
    assert invoke("benchmark", in_folder, "--batch-sizes", "1,x").exit_code == command_line.EXIT_REFUSED


def test_benchmark_times_every_file_and_writes_json(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("small/model.onnx", "small/model_int8.onnx", "teacher/model.onnx"):
        (in_folder / name).parent.mkdir(exist_ok=True)
        (in_folder / name).write_bytes(b"")
    calls = []

    def fake(contenders: dict[str, Path], **options: Any) -> dict[str, Any]:
        calls.append(options)
        shape = {"batch_size": 1, "sequence_length": 32, "num_threads": 1}
        times = {"p50_ms": 1.5, "p95_ms": 2.0, "p99_ms": None, "throughput_per_s": 600.0, "noisy": False}
        return {
            "rows": [{"model": name, **shape, **times} for name in contenders],
            "noise": {"reasons": []},
        }

    faked = SimpleNamespace(benchmark=fake, benchmark_serving=None)
    monkeypatch.setitem(sys.modules, "bertcompress.latency.benchmark", faked)
    done = invoke("benchmark", "small", "teacher", "--threads", "1", "--no-serving", "-o", "out.json")
    assert done.exit_code == 0, done.output
    assert "1.5" in done.output
    shapes = {"batch_sizes": (1, 8), "sequence_lengths": (32, 128), "num_threads": (1,), "provider": "cpu"}
    assert calls == [shapes | {"seconds_per_point": 3.0, "most_seconds_per_point": 30.0}]
    written = json.loads((in_folder / "out.json").read_text(encoding="utf-8"))
    names = [row["model"] for row in written["rows"]]
    assert names == ["small/model.onnx", "small/model_int8.onnx", "teacher/model.onnx"]


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for parent in ("mine", "yours"):
        (tmp_path / parent / "winner").mkdir(parents=True)
        (tmp_path / parent / "winner" / "model.onnx").touch()
    found = command_line.exported_files([tmp_path / "mine" / "winner", tmp_path / "yours" / "winner"])
    assert len(found) == 2
    assert set(command_line.exported_files([tmp_path / "mine" / "winner"])) == {"winner/model.onnx"}
