"""Exported folders of small models with a WordPiece tokenizer, for tests of what serves them elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast, PreTrainedModel

from bertcompress.export.folder import export_folder
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import Architecture, Dimensions, Operator, Pooling

Model = TypeVar("Model", bound=PreTrainedModel)
VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "the", "good", "bad", "film", "cafe", "un", "##watch", "##able", "##s", "!", ",", "."),
)
CHAIN = ("mha2", "conv3", "ffn48", "mha4", "conv5")
MAX_LENGTH = 12
# As it was trained for, cut, with accents and pieces, with an unknown word, and a pair.
TEXTS: tuple[str | tuple[str, str], ...] = (
    "A good film!",
    "the bad film, the bad film, the bad film, the bad film, the bad film.",
    "unwatchable films, CAFÉS naïve",
    "a zebra",
    ("a good film", "the film, bad"),
)


def compact(
    names: Sequence[str] = CHAIN, *, pooling: Pooling = "mean_max", embedding_size: int = 16
) -> CompactBertForSequenceClassification:
    """A compact model of width 32 in eval mode, its weights wide enough for unlike answers."""
    dimensions = Dimensions(len(VOCABULARY), 32, embedding_size, 8, 2, pooling, max_position_embeddings=40)
    architecture = Architecture(dimensions, tuple(Operator.parse(name) for name in names))
    config = CompactBertConfig.from_architecture(architecture)
    model = _drawn(lambda: CompactBertForSequenceClassification(config))
    return _balanced(model, model.head.classifier)


def stock() -> BertForSequenceClassification:
    """A stock BERT of 2 layers and width 32 in eval mode."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    model = _drawn(lambda: BertForSequenceClassification(config))
    return _balanced(model, model.classifier)


def _drawn(build: Callable[[], Model]) -> Model:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = build()
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def _balanced(model: Model, classifier: nn.Linear) -> Model:
    """The model with a head by which TEXTS fall into both classes, some of them clearly."""
    words = tokenizer()
    with torch.no_grad():
        classifier.weight *= 4
        rows = [words(*text) if isinstance(text, tuple) else words(text) for text in TEXTS]
        logits = [model(**{key: torch.tensor([ids]) for key, ids in row.items()}).logits for row in rows]
        classifier.bias -= torch.cat(logits).mean(dim=0)
    return model


def tokenizer() -> BertTokenizerFast:
    """BERT's own tokenizer of VOCABULARY: lower case, no accents, WordPiece."""
    numbers = {word: index for index, word in enumerate(VOCABULARY)}
    rust = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=True)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece()
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    return BertTokenizerFast(tokenizer_object=rust)


def write_folder(model: PreTrainedModel, folder: Path) -> Path:
    """The exported folder of a model: fp32 and int8, texts cut at MAX_LENGTH tokens."""
    export_folder(model, tokenizer(), ("negative", "positive"), folder, max_length=MAX_LENGTH)
    return folder
