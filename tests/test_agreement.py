"""Recipe, data and teacher that do not go together are refused: by validate, and before a run is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import change_weights, save_classifier, save_recipe, with_value, without
from small_models import WORDS, word_tokenizer
from transformers import BertForSequenceClassification
from typer.testing import CliRunner

from bertcompress.cli.app import app
from bertcompress.errors import BertCompressError, RecipeError, SpaceError
from bertcompress.pipeline import run_recipe
from bertcompress.pipeline.agreement import fitting_benchmark, validate_recipe
from bertcompress.recipe import Recipe, load_recipe
from bertcompress.sources.teacher import hash_teacher


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A recipe with its data and a fine-tuned teacher of 4 heads, 10 tokens and 40 positions."""
    return save_recipe(tmp_path)


def recipe_of(path: Path, *overrides: str) -> Recipe:
    return load_recipe(path, list(overrides))


# A key that does not go with the teacher -> what has to be said.
DISAGREEING = {
    "data.max_length=41": "data.max_length: 41 tokens; the teacher has positions for 40",
    "latency.sequence_length=41": "latency.sequence_length: 41 tokens",
    "benchmark.sequence_lengths=[8, 41]": "benchmark.sequence_lengths: 41 tokens",
    "budget.latencies=[{sequence_length: 41, latency_ms: 9}]": r"budget.latencies\[0\].sequence_length: 41",
    "space.operators=[mha5, ffn32]": "5 heads of size 8 are wider than hidden_size 32; use 1 to 4 heads",
    "space.operators=[[mha2, mha5], [ffn32]]": 'position 0: "mha5"',
    "space.hidden_size=24": "space.hidden_size: 24 is not the teacher's 32",
    "space.embedding_size=33": "embedding_size: 33 is wider than hidden_size",
    "task.label_names=[LABEL_1, LABEL_0]": "set task.label_names to the teacher's names",
}


@pytest.mark.parametrize("override", DISAGREEING)
def test_validate_refuses_what_does_not_go_with_the_teacher(recipe_file: Path, override: str) -> None:
    with pytest.raises(BertCompressError, match=DISAGREEING[override]):
        validate_recipe(recipe_of(recipe_file, override))


def test_lengths_beyond_the_teacher_are_told_together(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match="has 2 problems"):
        validate_recipe(recipe_of(recipe_file, "data.max_length=99", "latency.sequence_length=99"))


def lose_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def add_tokens(folder: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["zzz"])
    tokenizer.save_pretrained(folder)


def forget_words(folder: Path) -> None:
    word_tokenizer(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "0")).save_pretrained(folder)


def lose_segments(folder: Path) -> None:
    save_classifier(folder, type_vocab_size=1)


SPOILT: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a head is missing": (lambda folder: change_weights(folder, without("classifier.bias")), "", "missing"),
    "NaN": (lambda folder: change_weights(folder, with_value("classifier.bias", float("nan"))), "", "NaN"),
    "no tokenizer": (lose_tokenizer, "", "looked for tokenizer.json"),
    "more tokens": (add_tokens, "", "the model embeds 10 tokens"),
    "words of another teacher": (forget_words, "", "knows no word of the first"),
    "no segments for pairs": (lose_segments, "task.text_columns=[text, text2]", "task.text_columns: pairs"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_validate_refuses_a_teacher_that_is_not_whole(recipe_file: Path, spoilt: str) -> None:
    spoil, override, message = SPOILT[spoilt]
    spoil(recipe_file.parent / "teacher")
    data = recipe_file.parent / "reviews.csv"
    if override:
        lines = data.read_text(encoding="utf-8").splitlines()
        changed = ["text,text2,label", *(f"a,{line}" for line in lines[1:])]
        data.write_text("\n".join(changed) + "\n", encoding="utf-8")
    else:
        data.write_text(data.read_text(encoding="utf-8").replace(" a", " film").replace("a ", "film "))
    with pytest.raises(BertCompressError, match=message):
        validate_recipe(recipe_of(recipe_file, *filter(None, [override])))


def test_validate_says_what_lies_elsewhere(recipe_file: Path) -> None:
    recipe = recipe_of(recipe_file, "data.source=some-owner/some-data", "teacher.source='package:no-teacher'")
    on_hub, missing = validate_recipe(recipe)
    assert "some-owner/some-data lies on the Hub" in on_hub
    assert "pip install no-teacher" in missing


def test_the_command_says_that_a_recipe_is_valid_or_why_not(recipe_file: Path) -> None:
    valid = CliRunner().invoke(app, ["validate", str(recipe_file)])
    assert valid.exit_code == 0, valid.output
    refused = CliRunner().invoke(
        app, ["validate", str(recipe_file), "--set", "space.operators=[mha13, ffn32]"]
    )
    assert refused.exit_code == 2
    assert "mha13" in refused.output


def test_the_default_benchmark_fits_the_teacher_and_a_named_one_is_kept(recipe_file: Path) -> None:
    teacher = str(recipe_file.parent / "teacher")
    fitting = fitting_benchmark(recipe_of(recipe_file), teacher)
    assert fitting.benchmark.sequence_lengths == (32, 40)
    named = recipe_of(recipe_file, "benchmark.sequence_lengths=[128]")
    assert fitting_benchmark(named, teacher) == named


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def counted(count_latencies: Callable[[Callable[[object], float]], None]) -> None:
    """Latencies are counted, not measured."""
    count_latencies(lambda architecture: 1.0 + len(architecture.operators))  # type: ignore[attr-defined]


def test_a_run_that_is_refused_leaves_no_folder_and_changes_none(
    recipe_file: Path, tmp_path: Path, counted: None
) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(SpaceError):
        run_recipe(recipe_of(recipe_file, "space.operators=[mha5, ffn32]"), run_dir, "teacher")
    assert not run_dir.exists()
    run_recipe(recipe_of(recipe_file), run_dir, "teacher")
    before = contents(run_dir)
    for override in ("space.operators=[mha5, ffn32]", "data.max_length=41", "data.source=./nowhere.csv"):
        with pytest.raises(BertCompressError):
            run_recipe(recipe_of(recipe_file, override), run_dir, "teacher")
    change_weights(recipe_file.parent / "teacher", without("pooler.dense.bias"))
    with pytest.raises(BertCompressError, match="pooler"):
        run_recipe(recipe_of(recipe_file), run_dir, "teacher")
    assert contents(run_dir) == before


def test_a_teacher_trained_anew_in_place_is_taken_anew_and_said(
    recipe_file: Path, tmp_path: Path, counted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    run_dir, teacher = tmp_path / "run", recipe_file.parent / "teacher"
    run_recipe(recipe_of(recipe_file), run_dir, "teacher")
    change_weights(teacher, with_value("classifier.bias", 3.0))
    for expected in ("model.safetensors in", "teacher: done before"):
        run_recipe(recipe_of(recipe_file), run_dir, "teacher", console=Console(width=500))
        said = capsys.readouterr().out
        assert expected in said
        assert "data: done before, kept" in said
    kept = BertForSequenceClassification.from_pretrained(run_dir / "teacher" / "model")
    assert kept.classifier.bias[0].item() == 3.0
    word_tokenizer(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *reversed(WORDS[4:]))).save_pretrained(teacher)
    run_recipe(recipe_of(recipe_file), run_dir, "teacher", console=Console(width=500))
    said = capsys.readouterr().out
    assert "teacher: tokenizer.json in" in said
    assert "data: done before" not in said


def test_a_new_head_is_said(recipe_file: Path, tmp_path: Path, counted: None) -> None:
    teacher = recipe_file.parent / "teacher"
    run_recipe(recipe_of(recipe_file), tmp_path / "run", "teacher")
    made = tmp_path / "run" / "teacher" / "teacher.json"
    assert json.loads(made.read_text(encoding="utf-8"))["new_head"] is False
    BertForSequenceClassification.from_pretrained(teacher).bert.save_pretrained(teacher)
    run_recipe(recipe_of(recipe_file), tmp_path / "run", "teacher")
    described = json.loads(made.read_text(encoding="utf-8"))
    assert described["new_head"] is True
    assert described["files"] == hash_teacher(str(teacher))


def test_checking_draws_nothing_from_the_random_state(recipe_file: Path) -> None:
    teacher = recipe_file.parent / "teacher"
    BertForSequenceClassification.from_pretrained(teacher).bert.save_pretrained(teacher)
    before = torch.get_rng_state()
    validate_recipe(recipe_of(recipe_file))
    assert torch.equal(torch.get_rng_state(), before)
