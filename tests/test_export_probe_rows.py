"""Narrowed files are judged by how many rows they answer as before: the user's, or drawn ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import widely_drawn, word_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from bertcompress.errors import DataError
from bertcompress.export.calibration import Calibration
from bertcompress.export.probe_rows import NUM_DRAWN, drawn_texts, export_rows
from bertcompress.export.recommend import Trial, precision_problems, recommend
from bertcompress.sources.texts import read_texts


def model_of(**changes: Any) -> PreTrainedModel:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=97, max_position_embeddings=40, **sizes, **changes)
    return widely_drawn(lambda: AutoModelForSequenceClassification.from_config(config))


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


def test_rows_are_drawn_where_none_are_given(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = export_rows(model_of(), tokenizer, 20)
    assert rows.calibration is not None
    assert rows.calibration.num_rows == NUM_DRAWN
    assert sum(len(batch["input_ids"]) for batch in rows.verified) == NUM_DRAWN
    assert drawn_texts(tokenizer) == drawn_texts(tokenizer) != drawn_texts(tokenizer, seed=1)


def test_drawn_rows_scale_no_static_file(tokenizer: PreTrainedTokenizerFast) -> None:
    drawn, given = (export_rows(model_of(), tokenizer, 20, texts) for texts in ((), ["good film"]))
    assert any("given none" in each for each in precision_problems(["int8_static"], drawn.calibration))
    assert not precision_problems(["int8_static"], given.calibration)


def test_a_question_answerer_is_given_pairs(tokenizer: PreTrainedTokenizerFast) -> None:
    config = model_of().config
    rows = export_rows(widely_drawn(lambda: BertForQuestionAnswering(config)), tokenizer, 40)
    assert all(batch["token_type_ids"].any() for batch in rows.verified)


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"num_labels": 1}, True),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, True),
        ({"num_labels": 3}, False),
    ],
)
def test_numbers_that_move_are_answers_lost(
    tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any], numbers: bool
) -> None:
    rows = export_rows(model_of(**changes), tokenizer, 20).calibration
    assert rows is not None
    assert rows.numbers is numbers
    logits = np.random.default_rng(0).normal(size=(500, 3)) + np.array([0, 0, 99])
    assert rows.drop(logits, logits) == 0
    assert rows.drop(logits + 1.0, logits) == (1 if numbers else 0)


@pytest.mark.parametrize(("agreement", "recommended"), [(1.0, True), (0.99, True), (0.98, False)])
def test_a_file_that_answers_otherwise_is_not_recommended(agreement: float, recommended: bool) -> None:
    def files() -> dict[str, dict[str, Any]]:
        entry = {"file": "model.onnx", "agreement": 1.0, "num_rows": 200}
        return {"fp32": entry, "int8": {**entry, "agreement": agreement}}

    asked, measured = files(), files()
    recommend(asked, Path(), Trial())
    assert asked["int8"]["recommended"] is recommended
    assert recommended or "--rows FILE" in asked["int8"]["reason"]
    # A metric on real data says more.
    recommend(measured, Path(), replace(Trial(), metric=lambda path: 1.0))
    assert measured["int8"]["recommended"]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("rows.txt", "good, film\n\n bad\n", ["good, film", " bad"]),
        ("rows.csv", 'label,text\n1,"good, film"\n0,bad\n', ["good, film", "bad"]),
        ("rows.tsv", "premise\thypothesis\na\tb\n", [("a", "b")]),
        ("rows.jsonl", '{"sentence": "good", "label": 1}\n', ["good"]),
    ],
)
def test_texts_are_read_from_tables_and_lines(
    tmp_path: Path, name: str, content: str, texts: list[Any]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_texts(tmp_path / name, 10) == texts
    assert read_texts(tmp_path / name, 1) == texts[:1]


def test_a_table_of_many_text_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a, b, c; give one named"):
        read_texts(tmp_path / "rows.csv", 10)


def test_no_calibration_is_of_no_rows() -> None:
    assert precision_problems(["int8_static"], Calibration(()))
