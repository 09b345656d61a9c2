"""Hugging Face's own classifiers of BERT's family export with their fusions, and serve like any folder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import widely_drawn, word_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    ElectraConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
)
from typer.testing import CliRunner

from bertcompress.cli import app as cli
from bertcompress.errors import TeacherError
from bertcompress.export.calibration import random_calibration
from bertcompress.export.folder import ExportRows, export_folder
from bertcompress.export.heads import HEADS, SEQUENCE, SPAN, Head
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.export.teachers import (
    AUTO_CLASSES,
    FAMILIES,
    TeacherGraph,
    load_model,
    teacher_architecture,
)
from bertcompress.export.verify import model_logits, shape_cases
from bertcompress.sources.limits import input_limits

SIZES = {"vocab_size": 97, "max_position_embeddings": 40, "num_labels": 3}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
CONFIGS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**SIZES, **LAYERS, type_vocab_size=2),
    "roberta": RobertaConfig(**SIZES, **LAYERS, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5),
    "distilbert": DistilBertConfig(**SIZES, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    "electra": ElectraConfig(**SIZES, **LAYERS, embedding_size=16),
    "electra of one width": ElectraConfig(**SIZES, **LAYERS, embedding_size=32),
}


def make_teacher(name: str, head: Head = SEQUENCE, **changes: Any) -> PreTrainedModel:
    """A model in eval mode, its weights drawn from seed 0, widely enough that logits tell them apart."""
    config = copy.deepcopy(CONFIGS[name])
    config.update({"num_labels": 2 if head == SPAN else 3, **changes})
    return widely_drawn(lambda: AUTO_CLASSES[head].from_config(config))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer(second_segment=0)  # RoBERTa has one segment only


@pytest.mark.parametrize("head", HEADS, ids=[head.task for head in HEADS])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_chain_computes_what_the_teacher_computes(name: str, head: Head) -> None:
    teacher = make_teacher(name, head)
    graph, limits = TeacherGraph(teacher).eval(), input_limits(teacher.config.to_dict())
    cases = shape_cases(
        vocab_size=limits.vocab_size, max_length=limits.max_length, type_vocab_size=limits.num_segments
    )
    for kind, feed in cases:
        with torch.no_grad():
            found = graph(**{key: torch.from_numpy(array.copy()) for key, array in feed.items()})
        outputs = [each.numpy() for each in found.values()]
        logits = outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)
        np.testing.assert_allclose(logits, model_logits(teacher, feed), atol=1e-5, err_msg=kind)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_teacher_exports_with_its_fusions_and_serves(
    name: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    teacher = make_teacher(name)
    limits = input_limits(teacher.config.to_dict())
    rows = ExportRows(calibration=random_calibration(limits.vocab_size, limits.max_length))
    record = export_folder(
        teacher, tokenizer, ("bad", "fair", "good"), tmp_path, precisions=tuple(PRECISIONS), rows=rows
    )
    found = {precision: entry["audit"]["found"] for precision, entry in record["precisions"].items()}
    assert (found["fp32"]["MultiHeadAttention"], found["fp32"]["BiasGelu"]) == (2, 2)
    assert (found["int8"]["MultiHeadAttention"], found["int8"]["Gelu"]) == (2, 2)
    assert all(nodes["MultiHeadAttention"] == 2 for nodes in found.values())
    assert record["precisions"]["fp32"]["max_logit_error"] < 1e-5
    errors = {precision: entry["max_logit_error"] for precision, entry in record["precisions"].items()}
    assert errors["fp16"] < 1e-2
    assert max(errors.values()) < 1.0
    assert all(errors[name] < 0.3 for name in ("int8", "int8_static", "int8_weights"))
    assert record["max_length"] == (38 if name == "roberta" else 40)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(teacher)
    assert loaded.config.id2label == {0: "bad", 1: "fair", 2: "good"}
    classifier = OnnxClassifier(tmp_path)
    ids = np.array([[2, 4, 6, 3]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    np.testing.assert_allclose(classifier.logits(ids), model_logits(loaded, feed), atol=1e-5)
    assert classifier.classify(["good film", "a very bad film " * 30])[0]["label"] in {"bad", "fair", "good"}
    for precision in PRECISIONS:
        narrowed = OnnxClassifier(tmp_path, precision).logits(ids)
        np.testing.assert_allclose(narrowed, classifier.logits(ids), atol=1.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BertConfig(**SIZES, **LAYERS, hidden_act="relu"), "hidden_act: 'relu'; only gelu"),
        (BertConfig(**SIZES, **LAYERS, is_decoder=True), "only encoders"),
        (DistilBertConfig(**SIZES, dim=32, n_layers=2, n_heads=4, activation="relu"), "only gelu"),
        (PretrainedConfig(), "use bert, roberta, distilbert, electra"),
    ],
)
def test_what_is_not_of_the_family_is_named(config: PretrainedConfig, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        teacher_architecture(config)


def test_every_family_is_tested() -> None:
    assert {config.model_type for config in CONFIGS.values()} == set(FAMILIES)


def test_export_model_writes_a_folder_and_says_what_it_measured(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    source, out = tmp_path / "teacher", tmp_path / "out"
    make_teacher("distilbert").save_pretrained(source)
    tokenizer.save_pretrained(source)
    texts = tmp_path / "texts"
    texts.write_text("good film\n\na very bad film\n", encoding="utf-8")
    options = {"--precisions": "fp32,int8_static", "--sequence-length": "8", "--calibration": str(texts)}
    words = [word for option in options.items() for word in option]
    done = CliRunner().invoke(cli.app, ["export-model", str(source), str(out), *words])
    assert done.exit_code == 0, done.output
    assert "model.onnx (fp32):" in done.output
    assert "model_int8_static.onnx (int8_static):" in done.output
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "# teacher\n" in card
    assert "- weights: `DistilBertForSequenceClassification`, which transformers loads" in card
    assert "- p50 at: batch 1 x 8 tokens, 1 thread, fp32, cpu" in card
    assert OnnxClassifier(out).label_names == ["LABEL_0", "LABEL_1", "LABEL_2"]


@pytest.mark.parametrize(("text", "message"), [("\n \n", "holds no text"), (None, "cannot be read as text")])
def test_calibration_wants_a_file_of_texts(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, text: str | None, message: str
) -> None:
    source, texts = tmp_path / "teacher", tmp_path / "texts"
    make_teacher("bert").save_pretrained(source)
    tokenizer.save_pretrained(source)
    if text is not None:
        texts.write_text(text, encoding="utf-8")
    command = ["export-model", str(source), str(tmp_path / "out"), "--calibration", str(texts)]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 2
    assert message in done.output


def test_a_model_without_a_head_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    BertModel(BertConfig(**SIZES, **LAYERS)).save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match="holds BertModel; export takes a model that ends in"):
        load_model(str(tmp_path))


def test_a_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_model(str(tmp_path))
