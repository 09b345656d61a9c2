"""A vocabulary trimmed in the flow: it goes with the children, and the teacher keeps its own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import DataError
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.pipeline import run_recipe
from bertcompress.pipeline.stages import vocabulary
from bertcompress.recipe import load_recipe


def test_a_trimmed_vocabulary_goes_with_the_children_and_the_teacher_keeps_its_own(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    # Two words of the teacher's stand in no text; one of the test's words in none that is trained on.
    rows = [json.loads(line) for line in (tmp_path / "sentences.jsonl").read_text().splitlines()]
    for row in rows:
        row["text"] = row["text"].replace("rather", "quite").replace("scene", "film")
    rows[0] = {"text": "rather great scene", "label": "positive"}
    source = tmp_path / "splits"
    source.mkdir()
    for name, part in {"test": rows[:60], "validation": rows[60:120], "train": rows[120:]}.items():
        random.Random(0).shuffle(part)
        (source / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    words = [f"data.source={source}", "space.vocabulary=corpus", "teacher.epochs=4"]
    words += ["export.precisions=[fp32, int8, int8_static]", "export.calibration_rows=40"]
    result = run_recipe(load_recipe(tiny_recipe, words), tmp_path / "run")
    folder = tmp_path / "run/export"
    sizes = {role: len(Tokenizer.from_file(str(folder / role / "tokenizer.json")).get_vocab())
             for role in ("teacher", "baseline", "winner")}  # fmt: skip
    assert sizes == {"teacher": 18, "baseline": 16, "winner": 16}
    teacher, baseline, winner = result.report["models"]
    for model in (baseline, winner):
        assert model["num_parameters"] < teacher["num_parameters"] - 81 * 16
    assert result.report["vocabulary"].startswith("16 of 18 tokens")
    told = (folder / "winner/README.md").read_text(encoding="utf-8")
    assert "1 of 60 test texts are cut into other pieces than before, " in told
    assert "2 of them unknown (before: 0)" in told
    assert "vocabulary" not in (folder / "teacher/README.md").read_text(encoding="utf-8")
    answers = OnnxClassifier(folder / "winner").classify(["great film and story", "quite dull scene"])
    assert len(answers) == 2
    # Each model's int8 files are scaled and judged by its own tokens.
    for role in ("teacher", "winner"):
        made = json.loads((folder / role / "export.json").read_text(encoding="utf-8"))["precisions"]
        assert made["int8_static"]["quantization"]["sensitivity"]["num_rows"] == 40
        assert winner["files"]["int8_static"]["test_accuracy"] is not None


def test_a_trimming_that_was_killed_starts_over_and_a_full_vocabulary_is_not_cut_twice(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(tiny_recipe, ["space.vocabulary=corpus"])
    run_recipe(recipe, tmp_path / "whole", "vocabulary")
    tokenize, num_calls = vocabulary.tokenize, 0

    def killed_at_last(*arguments: Any) -> TokenizedSplit:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3:
            raise InterruptedError
        return tokenize(*arguments)

    monkeypatch.setattr(vocabulary, "tokenize", killed_at_last)
    with pytest.raises(InterruptedError):
        run_recipe(recipe, tmp_path / "cut", "vocabulary")
    run_recipe(recipe, tmp_path / "cut", "vocabulary")
    assert num_calls == 6  # up to the last split, then all three
    whole, cut = (
        {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/**/*") if path.is_file()}
        for folder in (tmp_path / "whole", tmp_path / "cut")
    )
    assert whole == cut
    assert Path("vocabulary/tokenizer/tokenizer.json") in whole

    run_recipe(load_recipe(tiny_recipe), tmp_path / "full", "vocabulary")
    assert num_calls == 6
    assert list((tmp_path / "full/vocabulary").glob("[!.]*")) == []


def test_a_vocabulary_of_merges_is_refused_before_anything_is_written(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    rust = Tokenizer(models.BPE({"[PAD]": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")]))
    PreTrainedTokenizerFast(tokenizer_object=rust, pad_token="[PAD]").save_pretrained(
        tmp_path / "teacher-files"
    )
    with pytest.raises(DataError, match="tokenizer is BPE"):
        run_recipe(load_recipe(tiny_recipe, ["space.vocabulary=corpus"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
