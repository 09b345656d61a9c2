"""The teacher: where it is found, what is refused, and how a headless one is fine-tuned."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import not_found
from huggingface_hub import constants
from transformers import BertConfig, BertForSequenceClassification, BertModel, DistilBertConfig

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import TeacherError
from bertcompress.sources import teacher as teacher_source
from bertcompress.sources.teacher import resolve_teacher
from bertcompress.sources.tokenizer import load_tokenizer
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Checks, FitSettings, model_inputs, seeded, validation_metrics
from bertcompress.training.teacher import (
    fine_tune,
    has_head,
    load_config,
    load_teacher,
)

LABELS = ("negative", "positive")


@pytest.fixture
def generic(tiny_bert: BertForSequenceClassification, tmp_path: Path) -> str:
    """A saved classifier whose labels are LABEL_0 and LABEL_1."""
    tiny_bert.save_pretrained(tmp_path / "generic")
    return str(tmp_path / "generic")


@pytest.fixture
def headless(tiny_bert_config: BertConfig, tmp_path: Path) -> str:
    """A saved encoder without a classification head."""
    BertModel(tiny_bert_config).save_pretrained(tmp_path / "headless")
    return str(tmp_path / "headless")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an importable package, my_tiny_teacher, that holds no model yet."""
    folder = tmp_path / "site" / "my_tiny_teacher"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def test_a_folder_resolves_to_itself(generic: str) -> None:
    assert resolve_teacher(generic) == generic


def test_a_hub_id_is_itself_while_the_hub_answers_and_its_copy_when_not(
    generic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [True, False]
    monkeypatch.setattr(teacher_source, "hub_answers", lambda kind, name: answers.pop(0))
    monkeypatch.setattr(teacher_source, "snapshot_download", lambda name, local_files_only: generic)
    assert resolve_teacher("some-owner/some-bert") == "some-owner/some-bert"
    assert resolve_teacher("some-owner/some-bert") == generic


def test_a_hub_id_that_is_nowhere_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(teacher_source, "hub_answers", lambda kind, name: False)
    with pytest.raises(TeacherError, match="cannot be reached, and no copy"):
        resolve_teacher("some-owner/some-bert")

    def unknown(kind: str, name: str) -> bool:
        raise not_found(name)

    monkeypatch.setattr(teacher_source, "hub_answers", unknown)
    with pytest.raises(TeacherError, match="the Hub has no model some-owner/some-bert"):
        resolve_teacher("some-owner/some-bert")


def test_package_resolves_to_the_folder_of_its_weights(
    package: Path, tiny_bert: BertForSequenceClassification
) -> None:
    (package / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TeacherError, match=r"my-tiny-teacher holds no config\.json beside model weights"):
        resolve_teacher("package:my-tiny-teacher")
    tiny_bert.save_pretrained(package / "model")
    assert resolve_teacher("package:my-tiny-teacher") == str(package / "model")


def test_package_without_init_is_searched_in_all_its_folders(
    package: Path, tiny_bert: BertForSequenceClassification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "__init__.py").unlink()
    other = tmp_path / "other" / "my_tiny_teacher"
    other.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(other.parent))
    with pytest.raises(TeacherError, match="package my-tiny-teacher holds no"):
        resolve_teacher("package:my-tiny-teacher")
    for folder in (package, other):
        tiny_bert.save_pretrained(folder / "model")
        assert resolve_teacher("package:my-tiny-teacher") == str(folder / "model")
        shutil.rmtree(folder / "model")


def test_pickled_weights_are_refused_and_the_way_out_works(
    package: Path, tiny_bert: BertForSequenceClassification
) -> None:
    tiny_bert.config.save_pretrained(package)
    torch.save(tiny_bert.state_dict(), package / "pytorch_model.bin")
    for source in (str(package), "package:my-tiny-teacher"):
        with pytest.raises(TeacherError, match=r"pytorch_model\.bin, which is unpickled.*save_pretrained"):
            resolve_teacher(source)
    # As from the Hub, where only the loading sees the files.
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_teacher(str(package), LABELS)
    BertForSequenceClassification.from_pretrained(package).save_pretrained(package)
    assert resolve_teacher("package:my-tiny-teacher") == resolve_teacher(str(package)) == str(package)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("package:no-such-teacher", "no-such-teacher is not installed; pip install no-such-teacher"),
        ("package:colorsys", "single module"),
        ("./no/such/folder", "no config.json there"),
    ],
)
def test_what_is_not_there_is_named(source: str, message: str) -> None:
    with pytest.raises(TeacherError) as caught:
        resolve_teacher(source)
    assert str(caught.value).startswith("teacher.source: ")
    assert message in str(caught.value)


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"no config\.json there"):
        resolve_teacher(str(tmp_path))


def test_other_model_types_are_refused(tmp_path: Path) -> None:
    DistilBertConfig().save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match="is a distilbert model"):
        load_config(str(tmp_path))


def test_unreadable_files_are_a_teacher_error(tmp_path: Path, tiny_bert_config: BertConfig) -> None:
    (tmp_path / "config.json").write_text("{broken", encoding="utf-8")
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_config(str(tmp_path))
    tiny_bert_config.save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_teacher(str(tmp_path), LABELS)


def test_missing_tokenizer_is_a_teacher_error(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="has no tokenizer"):
        load_tokenizer(str(tmp_path))


def test_generic_labels_take_the_task_names(generic: str, tiny_bert: BertForSequenceClassification) -> None:
    assert has_head(load_config(generic), LABELS)
    teacher = load_teacher(generic, LABELS)
    assert teacher.config.id2label == dict(enumerate(LABELS))
    torch.testing.assert_close(teacher.state_dict(), tiny_bert.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("asked", [("positive", "negative"), ("no", "yes"), ("a", "b", "c")])
def test_other_labels_or_another_order_are_refused(
    tiny_bert: BertForSequenceClassification, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    tiny_bert.config.id2label = dict(enumerate(LABELS))
    tiny_bert.save_pretrained(tmp_path)
    assert has_head(load_config(str(tmp_path)), LABELS)
    with pytest.raises(TeacherError, match=r"id2label is \['negative', 'positive'\]") as caught:
        load_teacher(str(tmp_path), asked)
    assert str(list(asked)) in str(caught.value)
    assert "task.label_names" in str(caught.value)


def test_generic_labels_of_another_count_are_refused(generic: str) -> None:
    with pytest.raises(TeacherError, match="LABEL_1"):
        has_head(load_config(generic), ("a", "b", "c"))


def test_headless_gets_a_head_of_the_task_drawn_from_the_seed(headless: str) -> None:
    labels = ("a", "b", "c")
    assert not has_head(load_config(headless), labels)
    heads = []
    for seed in (0, 0, 1):
        with seeded(seed):
            teacher = load_teacher(headless, labels, dropout=0.3)
        heads.append(teacher.classifier.weight)
    assert heads[0].shape == (3, 32)
    assert teacher.config.id2label == dict(enumerate(labels))
    assert teacher.dropout.p == 0.3
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize("train_embeddings", [False, True])
def test_headless_is_fine_tuned(
    headless: str, random_split: TokenizedSplit, tmp_path: Path, train_embeddings: bool
) -> None:
    def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"accuracy": float((logits.argmax(axis=1) == labels).mean())}

    with seeded(0):
        teacher = load_teacher(headless, LABELS)
    embeddings = teacher.bert.embeddings.word_embeddings.weight
    start = embeddings.detach().clone()
    checks = Checks(
        lambda model: validation_metrics(model, random_split, accuracy), 20, "accuracy", patience=9
    )
    settings = FitSettings(num_steps=60, batch_size=16, learning_rate=3e-3)
    with seeded(0), TrainingLog(tmp_path / "log", "teacher", None) as log:
        result = fine_tune(
            teacher,
            random_split,
            settings,
            rng=random.Random(0),
            log=log,
            checks=checks,
            train_embeddings=train_embeddings,
        )
    assert result.best_metrics["accuracy"] > 0.9
    assert validation_metrics(teacher, random_split, accuracy) == result.best_metrics
    assert torch.equal(embeddings, start) != train_embeddings
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_loaded_teacher_answers_as_it_was_saved(
    generic: str, tiny_bert: BertForSequenceClassification, random_split: TokenizedSplit
) -> None:
    inputs = model_inputs(random_split.batch([0, 1, 2]))
    torch.testing.assert_close(load_teacher(generic, LABELS)(**inputs).logits, tiny_bert(**inputs).logits)
