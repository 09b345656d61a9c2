"""Small compact models whose answers differ, and a tokenizer of whole words: what exports are tested on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import Architecture, Dimensions, Operator, Pooling

Model = TypeVar("Model", bound=PreTrainedModel)
CHAIN = ("mha2", "conv3", "ffn48", "mha4", "conv5")
BERT_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "the", "very")


def widely_drawn(build: Callable[[], Model], seed: int = 0) -> Model:
    """What `build` makes, in eval mode, its weights drawn widely enough that they all matter."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = build()
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def compact_model(
    names: Sequence[str] = CHAIN,
    *,
    vocab_size: int = 97,
    pooling: Pooling = "mean_max",
    embedding_size: int = 16,
    seed: int = 0,
) -> CompactBertForSequenceClassification:
    """A compact model of width 32 for 40 tokens, widely drawn."""
    dimensions = Dimensions(vocab_size, 32, embedding_size, 8, 2, pooling, max_position_embeddings=40)
    architecture = Architecture(dimensions, tuple(Operator.parse(name) for name in names))
    config = CompactBertConfig.from_architecture(architecture)
    return widely_drawn(lambda: CompactBertForSequenceClassification(config), seed)


def word_tokenizer(words: Sequence[str] = WORDS, *, second_segment: int = 1) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; the second text of a pair lies in `second_segment`."""
    numbers = {word: index for index, word in enumerate(words)}
    rust = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP] $B:{second_segment} [SEP]:{second_segment}",
        special_tokens=[(word, numbers[word]) for word in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
