"""Checkpoints that are broken in one place, and the folder of a small fine-tuned BERT to break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from small_models import BERT_SIZES, WORDS, widely_drawn, word_tokenizer
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

WEIGHTS = "model.safetensors"
Weights = dict[str, Tensor]


def save_classifier(folder: Path, **sizes: int) -> Path:
    """A BERT of two layers for two labels, its tokenizer of whole words beside it."""
    config = BertConfig(**{"vocab_size": len(WORDS), **BERT_SIZES, "max_position_embeddings": 40} | sizes)
    widely_drawn(lambda: BertForSequenceClassification(config)).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def change_weights(folder: Path, change: Callable[[Weights], Mapping[str, Tensor]]) -> Path:
    """Write what `change` makes of the folder's tensors in their place."""
    weights = load_file(folder / WEIGHTS)
    changed = {name: tensor.contiguous() for name, tensor in change(weights).items()}
    save_file(changed, folder / WEIGHTS, {"format": "pt"})
    return folder


def renamed(prefix: str) -> Callable[[Weights], Weights]:
    """Every tensor's name behind `prefix`."""
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}


def without(*endings: str) -> Callable[[Weights], Weights]:
    """No tensor whose name has one of `endings`."""
    return lambda weights: {name: tensor for name, tensor in weights.items() if not name.endswith(endings)}


def beside(**tensors: Tensor) -> Callable[[Weights], Weights]:
    """Further tensors; two underscores in a name stand for a dot."""
    return lambda weights: weights | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


def in_type(dtype: torch.dtype) -> Callable[[Weights], Weights]:
    """Every tensor in another type."""
    return lambda weights: {name: tensor.to(dtype) for name, tensor in weights.items()}


def with_value(name: str, value: float) -> Callable[[Weights], Weights]:
    """One value of the tensor `name` replaced."""

    def change(weights: Weights) -> Weights:
        weights[name].view(-1)[0] = value
        return weights

    return change
