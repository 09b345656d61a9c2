"""The teacher: a BERT, loaded from where `teacher_source` found it, fine-tuned if it has no head yet."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import TeacherError
from bertcompress.sources.checkpoint import label_names_of, load_whole, read_config
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, Checks, FitResult, FitSettings, fit, model_inputs

HEAD_NAME = "BertForSequenceClassification"
CLASSIFIER = frozenset({"classifier.weight", "classifier.bias"})
POOLER = frozenset({"bert.pooler.dense.weight", "bert.pooler.dense.bias"})
OTHER_HEADS = ("classifier.", "qa_outputs.")


def load_config(location: str) -> BertConfig:
    """The teacher's config, checked to be a BERT.

    Raises:
        TeacherError: it cannot be loaded, or is another model type.
    """
    subject = f"teacher.source: {location}"
    config = read_config(location, subject)
    if not isinstance(config, BertConfig):
        raise TeacherError(
            f"{subject} is a {config.model_type} model; the space is built from a bert one "
            "(BERT, MiniLM, TinyBERT, ...)"
        )
    return config


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
        TeacherError: it has a head, but for other labels or in another order, or for several labels a text.
    """
    if HEAD_NAME not in (getattr(config, "architectures", None) or ()):
        return False
    if config.problem_type not in (None, "single_label_classification"):
        raise TeacherError(
            f"teacher: its problem_type is {config.problem_type}, and the task gives a text one label; "
            "give a teacher of single labels, or one without a classification head"
        )
    theirs = label_names_of(config, "teacher")
    if theirs == list(label_names):
        return True
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(theirs))
    # Names of the task that are these very ones in another order are meant.
    if generic and len(theirs) == len(label_names) and not {*theirs} & {*label_names}:
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

    Only a checkpoint that claims no head for the task may lack one, and with it the pooler.

    Raises:
        TeacherError: it is not a BERT, its head is for other labels, or the checkpoint is not whole.
    """
    config = load_config(location)
    headed = has_head(config, label_names)
    # The head of another task, named as ours: what is stored of it is not this task's.
    other_head = tuple(OTHER_HEADS) if not headed and _claims_a_head(config) else ()
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}
    if dropout is not None:
        config.classifier_dropout = dropout
    model, lacking = load_whole(
        BertForSequenceClassification,
        location,
        subject=f"teacher.source: {location}",
        may_lack=() if headed else (POOLER, CLASSIFIER),
        may_hold=other_head,
        config=config,
    )
    teacher: BertForSequenceClassification = model
    if not headed and not lacking >= CLASSIFIER:
        if not other_head:
            raise TeacherError(
                f"teacher.source: {location} stores a classifier, and its config claims none (architectures: "
                f"{config.architectures}); name {HEAD_NAME} there, or save the encoder alone"
            )
        nn.init.normal_(teacher.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(teacher.classifier.bias)
    return teacher


def _claims_a_head(config: BertConfig) -> bool:
    return any("For" in name for name in getattr(config, "architectures", None) or ())


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
