"""The teacher: a BERT from the Hub, a folder or an installed package, fine-tuned if it has no head yet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError
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

from bertcompress.curve import TrainingLog
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import TeacherError
from bertcompress.hub import hub_answers
from bertcompress.package_folders import package_folders
from bertcompress.training import Batch, Checks, FitResult, FitSettings, fit, model_inputs

PACKAGE_PREFIX = "package:"
SAFE_WEIGHTS = "*.safetensors"
PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
HEAD_NAME = "BertForSequenceClassification"


def resolve_teacher(source: str) -> str:
    """Where transformers finds the teacher: a folder for `package:NAME` and paths, else the Hub id itself.

    Without a network a Hub id is the folder of its downloaded copy.

    Raises:
        TeacherError: the package is not installed or holds no model, the folder has no config.json or no
            safetensors, or the Hub has no such model or cannot be reached for one that was never downloaded.
    """
    if source.startswith(PACKAGE_PREFIX):
        return str(_package_folder(source.removeprefix(PACKAGE_PREFIX)))
    looks_local = source.startswith((".", "/", "~")) or Path(source).expanduser().exists()
    folder = Path(source).expanduser()
    if looks_local and not (folder / "config.json").is_file():
        raise TeacherError(
            f"teacher.source: {source}: no config.json there; give a folder that save_pretrained wrote"
        )
    if not looks_local:
        return _hub_location(source)
    _refuse_pickles(folder)
    return str(folder)


def _hub_location(name: str) -> str:
    advice = "check the spelling, or give a folder that save_pretrained wrote"
    try:
        if hub_answers("model", name):
            return name
        return snapshot_download(name, local_files_only=True)
    except RepositoryNotFoundError:
        raise TeacherError(f"teacher.source: the Hub has no model {name}; {advice}") from None
    except (OSError, ValueError):
        raise TeacherError(
            f"teacher.source: {name}: no such folder here, the Hub cannot be reached, and no copy of it was "
            f"downloaded before; {advice}"
        ) from None


def _package_folder(distribution: str) -> Path:
    try:
        roots = package_folders(distribution)
    except ModuleNotFoundError:
        raise TeacherError(
            f"teacher.source: package {distribution} is not installed; pip install {distribution}, "
            "or give a Hub id or a folder"
        ) from None
    if not roots:
        raise TeacherError(
            f"teacher.source: {distribution} is a single module and cannot hold a model; "
            "give a package with a folder, a Hub id or a folder"
        )
    configured = sorted(path.parent for root in roots for path in root.rglob("config.json"))
    found = [folder for folder in configured if any(folder.glob(SAFE_WEIGHTS))]
    if found:
        return found[0]
    for folder in configured:
        _refuse_pickles(folder)
    raise TeacherError(f"teacher.source: package {distribution} holds no config.json beside model weights")


def _refuse_pickles(folder: Path) -> None:
    """Weights are read from safetensors alone: a .bin is unpickled, and that can run anything.

    Raises:
        TeacherError: the folder has weights, but no safetensors.
    """
    pickles = sorted(path.name for pattern in PICKLED_WEIGHTS for path in folder.glob(pattern))
    if pickles and not any(folder.glob(SAFE_WEIGHTS)):
        raise TeacherError(
            f"teacher.source: {folder}: its weights are in {pickles[0]}, which is unpickled and could run "
            "any code; only safetensors are read. If you trust the file, load it with transformers' "
            "from_pretrained and write it anew with save_pretrained"
        )


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
