"""The teacher: a BERT, loaded from where `teacher_source` found it, fine-tuned if it has no head yet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import TeacherError
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, Checks, FitResult, FitSettings, fit, model_inputs

HEAD_NAME = "BertForSequenceClassification"


def load_config(location: str) -> BertConfig:
    """The teacher's config, checked to be a BERT.

    Raises:
        TeacherError: it cannot be loaded, or is another model type.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(location)
    except (OSError, ValueError) as error:
        raise TeacherError(f"teacher.source: {location} cannot be loaded: {_first_line(error)}") from error
    if not isinstance(config, BertConfig):
        raise TeacherError(
            f"teacher.source: {location} is a {config.model_type} model; the space is built from a bert one "
            "(BERT, MiniLM, TinyBERT, ...)"
        )
    return config


def load_tokenizer(location: str) -> PreTrainedTokenizerBase:
    """The teacher's fast tokenizer.

    Raises:
        TeacherError: there is none.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(location, use_fast=True)
    except (OSError, ValueError) as error:
        raise TeacherError(f"teacher.source: {location} has no tokenizer: {_first_line(error)}") from error
    return tokenizer


def keep_tokens(teacher: BertForSequenceClassification, kept: np.ndarray) -> BertForSequenceClassification:
    """The teacher itself, with the word embeddings of the tokens `kept` (V,) alone, in that order."""
    words = teacher.bert.embeddings.word_embeddings.weight.detach()
    teacher.bert.set_input_embeddings(
        nn.Embedding.from_pretrained(words[torch.from_numpy(kept)].clone(), freeze=False)
    )
    teacher.config.vocab_size = len(kept)
    return teacher


def has_head(config: BertConfig, label_names: Sequence[str]) -> bool:
    """Whether the checkpoint already classifies into `label_names`.

    Raises:
        TeacherError: it has a head, but for other labels or in another order.
    """
    if HEAD_NAME not in (getattr(config, "architectures", None) or ()):
        return False
    id2label = cast(dict[int, str], config.id2label)
    theirs = [id2label[index] for index in sorted(id2label)]
    if theirs == list(label_names):
        return True
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(theirs))
    if generic and len(theirs) == len(label_names):
        return True
    raise TeacherError(
        f"teacher: its id2label is {theirs}, the task's labels are {list(label_names)}; "
        "set task.label_names to the teacher's names in the teacher's order, or give a teacher without a "
        "classification head"
    )


def load_teacher(
    location: str, label_names: Sequence[str], *, dropout: float | None = None
) -> BertForSequenceClassification:
    """The teacher with a head for `label_names`; drawn from torch's generator when it has none.

    Raises:
        TeacherError: it is not a BERT, or its head is for other labels.
    """
    config = load_config(location)
    has_head(config, label_names)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}
    if dropout is not None:
        config.classifier_dropout = dropout
    verbosity = transformers_logging.get_verbosity()
    # The report of missing head weights is expected here, and said in our own words by the pipeline.
    transformers_logging.set_verbosity_error()
    try:
        model = BertForSequenceClassification.from_pretrained(
            location, config=config, dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise TeacherError(f"teacher.source: {location} cannot be loaded: {_first_line(error)}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    return model


def fine_tune(
    teacher: BertForSequenceClassification,
    split: TokenizedSplit,
    settings: FitSettings,
    *,
    rng: random.Random,
    log: TrainingLog,
    checks: Checks,
    train_embeddings: bool,
) -> FitResult:
    """Train the teacher on the labels of `split`; it ends with the best weights of the validation checks."""
    teacher.bert.embeddings.requires_grad_(train_embeddings)

    def loss_of(model: nn.Module, batch: Batch, step: int) -> Tensor:
        return functional.cross_entropy(model(**model_inputs(batch)).logits, batch["labels"])

    result = fit(teacher, split, loss_of, settings, rng=rng, log=log, checks=checks)
    teacher.requires_grad_(True)
    return result


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
