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
RECIPE = """\
name: small
data: {{source: {folder}/reviews.csv, max_length: 16}}
teacher: {{source: {folder}/teacher, epochs: 1}}
space: {{num_positions: 2, operators: [mha2, ffn32, conv3, identity]}}
supernet: {{steps: 4}}
budget: {{num_parameters: 15000000}}
latency: {{num_chains: 4, num_heldout: 2, sequence_length: 8}}
"""
Weights = dict[str, Tensor]


def save_classifier(folder: Path, **sizes: int) -> Path:
    """A BERT of two layers for two labels, its tokenizer of whole words beside it."""
    config = BertConfig(**{"vocab_size": len(WORDS), **BERT_SIZES, "max_position_embeddings": 40} | sizes)
    widely_drawn(lambda: BertForSequenceClassification(config)).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def save_recipe(folder: Path) -> Path:
    """The file of a recipe, with its data and the classifier as its teacher."""
    save_classifier(folder / "teacher")
    words, rows = WORDS[4:], []
    for number in range(60):
        text = " ".join(words[number // len(words) ** place % len(words)] for place in range(3))
        rows.append(f"{text},{'LABEL_1' if number % 2 else 'LABEL_0'}")
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return path


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
