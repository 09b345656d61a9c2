"""Exported folders of small models with a WordPiece tokenizer, for tests of what serves them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from small_models import BERT_SIZES, CHAIN, Model, compact_model, widely_drawn
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from bertcompress.export.calibration import random_calibration
from bertcompress.export.folder import ExportRows, export_folder
from bertcompress.export.heads import Head
from bertcompress.export.teachers import AUTO_CLASSES
from bertcompress.model import CompactBertForSequenceClassification
from bertcompress.space import Pooling

VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "the", "good", "bad", "film", "cafe", "un", "##watch", "##able", "##s", "!", ",", "."),
)
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
    model = compact_model(names, vocab_size=len(VOCABULARY), pooling=pooling, embedding_size=embedding_size)
    return _balanced(model, model.head.classifier, tokenizer())


def stock() -> BertForSequenceClassification:
    """A stock BERT of 2 layers and width 32 in eval mode."""
    config = BertConfig(vocab_size=len(VOCABULARY), **BERT_SIZES, max_position_embeddings=40)
    model = widely_drawn(lambda: BertForSequenceClassification(config))
    return _balanced(model, model.classifier, tokenizer())


def stock_of_head(head: Head) -> PreTrainedModel:
    """A stock BERT of 2 layers and width 32 with any head, in eval mode."""
    config = BertConfig(vocab_size=len(VOCABULARY), **BERT_SIZES, max_position_embeddings=40)
    return widely_drawn(lambda: AUTO_CLASSES[head].from_config(config))


def roberta() -> RobertaForSequenceClassification:
    """A RoBERTa of 2 layers and width 32 in eval mode, for `byte_tokenizer`; it has one segment only."""
    words = byte_tokenizer()
    config = RobertaConfig(
        vocab_size=len(words),
        **BERT_SIZES,
        max_position_embeddings=42,
        type_vocab_size=1,
        pad_token_id=words.pad_token_id,
    )
    model = widely_drawn(lambda: RobertaForSequenceClassification(config))
    return _balanced(model, model.classifier.out_proj, words)


def _balanced(model: Model, classifier: nn.Linear, words: PreTrainedTokenizerFast) -> Model:
    """The model with a head by which TEXTS fall into both classes, some of them clearly."""
    with torch.no_grad():
        classifier.weight *= 4
        pairs = [text if isinstance(text, tuple) else (text,) for text in TEXTS]
        rows = [words(*pair, truncation=True, max_length=MAX_LENGTH) for pair in pairs]
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


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """RoBERTa's kind of tokenizer: byte-level BPE with merges learned from VOCABULARY."""
    special = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    rust = Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=list(special.values()), initial_alphabet=alphabet, show_progress=False
    )
    rust.train_from_iterator([" ".join(VOCABULARY).replace("##", "")] * 3, trainer)
    rust.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=rust, cls_token="<s>", sep_token="</s>", **names)


def write_folder(
    model: PreTrainedModel,
    folder: Path,
    words: PreTrainedTokenizerFast | None = None,
    *,
    precisions: Sequence[str] = ("fp32", "int8"),
) -> Path:
    """The exported folder of a model, texts cut at MAX_LENGTH tokens."""
    words = words or tokenizer()
    export_folder(
        model,
        words,
        ("negative", "positive"),
        folder,
        precisions=precisions,
        max_length=MAX_LENGTH,
        rows=ExportRows(calibration=random_calibration(len(words), MAX_LENGTH)),
    )
    return folder
