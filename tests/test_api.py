"""The Python API that the README shows: it runs as it stands there, and importing it costs nothing."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import compact_model

import bertcompress
from bertcompress import OnnxClassifier, errors, export_model
from bertcompress.errors import DataError, LaunchError
from bertcompress.pipeline import compress as compress_module
from bertcompress.pipeline.compress import CompressionResult, compress, override_words
from bertcompress.recipe import load_recipe
from bertcompress.space import Architecture

README = Path(__file__).parent.parent / "README.md"
# Whatever of transformers comes first, and on whichever side of it bertcompress is imported.
ORDERS = [
    ("bertcompress", "AutoModelForSequenceClassification"),
    ("AutoModelForSequenceClassification", "bertcompress"),
    ("bertcompress", "AutoConfig"),
    ("bertcompress", "AutoTokenizer"),
    # These import the Auto classes while they are half imported themselves.
    ("bertcompress", "PreTrainedModel"),
    ("bertcompress", "BertForSequenceClassification"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    compact_model().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("order", ORDERS, ids=" then ".join)
def test_import_bertcompress_alone_makes_compact_models_known(order: tuple[str, str], saved: Path) -> None:
    imports = [
        f"import {word}" if word == "bertcompress" else f"from transformers import {word}" for word in order
    ]
    program = "\n".join(
        [
            *imports,
            "from transformers import AutoConfig, AutoModelForSequenceClassification",
            f"print(AutoConfig.from_pretrained({str(saved)!r}).model_type)",
            f"print(type(AutoModelForSequenceClassification.from_pretrained({str(saved)!r})).__name__)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["compact_bert", "CompactBertForSequenceClassification"]


def test_every_name_of_the_front_door_is_there_and_every_error_is_among_them() -> None:
    for name in bertcompress.__all__:
        assert getattr(bertcompress, name) is not None
    known = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert known <= set(bertcompress.__all__)


def test_examples_in_docstrings_are_true() -> None:
    found = doctest.testmod(compress_module)
    assert found.attempted > 0
    assert found.failed == 0


def test_overrides_are_a_mapping_or_words() -> None:
    values = {"budget.speedup": 8, "teacher.train_embeddings": True, "description": "a: b # c", "seed": 3}
    assert override_words([f"seed={3}"]) == ["seed=3"]
    recipe = load_recipe("reviews-mini", override_words(values))
    assert (recipe.description, recipe.seed, recipe.budget.speedup) == ("a: b # c", 3, 8)
    assert recipe.teacher.train_embeddings


@pytest.fixture
def quick_recipe(
    tiny_recipe: Path, count_latencies: Callable[[Callable[[Architecture], float]], None]
) -> Path:
    """The tiny recipe with every training cut short, and latencies that are counted."""
    count_latencies(lambda architecture: 1 + len(architecture.operators))
    cut = ["teacher.epochs=1", "supernet.steps=4", "supernet.strategy=spos", "student.epochs=1"]
    cut += ["race.num_entrants=2", "race.shares=[1.0]", "export.precisions=[fp32]"]
    path = tiny_recipe.with_name("quick.yaml")
    path.write_text(load_recipe(tiny_recipe, cut).to_yaml(), encoding="utf-8")
    return path


def test_what_the_readme_shows_runs(
    quick_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    for shown, small in (('"reviews-mini"', repr(str(quick_recipe))), ('speedup": 8', 'speedup": 0.2')):
        assert shown in block
        block = block.replace(shown, small)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    result = names["result"]
    assert isinstance(result, CompressionResult)
    assert result.winner.folder == Path("runs/mine/export/winner")
    assert (result.winner.folder / "model.onnx").is_file()
    assert 0 <= result.winner.metrics["accuracy"] <= 1
    assert result.report_path.is_file()
    table = result.table()
    assert max(map(len, table.splitlines())) <= 80
    assert "winner" in table
    shown = capsys.readouterr().out
    assert result.verdict in shown
    (answer,) = names["classifier"](["a gripping, beautifully acted film"])
    assert answer["label"] in ("negative", "positive")
    # Once more, it is read: the same models, whatever form the arguments have.
    again = compress(str(quick_recipe), Path("runs/mine"), ["budget.speedup=0.2"])
    assert again.winner == result.winner


def test_compress_is_for_one_process(tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress_module, "num_processes", lambda: 2)
    with pytest.raises(LaunchError, match="run_recipe"):
        compress(tiny_recipe)


def test_a_classifier_answers_as_a_pipeline_of_transformers_does(exported_folder: Path) -> None:
    classifier = OnnxClassifier.from_pretrained(exported_folder)
    (answer,) = classifier(["one two"])
    assert set(answer) == {"label", "score"}
    assert classifier("one two") == [answer] == classifier.classify(["one two"])
    assert classifier(["one two", "three"])[0]["label"] == answer["label"]
    assert len(classifier(("one", "two"))) == 1


def test_precisions_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"give a list, such as \['fp32', 'int8'\]"):
        export_model("anything", tmp_path, precisions="fp32,int8")
