"""Plain Hugging Face models of BERT's family as graphs that fuse: BERT, RoBERTa, DistilBERT and ELECTRA.

The family differs in its embeddings and its heads, which run as they are: of text, of tokens, of questions.
Between them lies the same chain of attention and feed-forward everywhere, which runs as our operators on the
model's own weights, because those export to fused nodes on every version of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from bertcompress.errors import TeacherError
from bertcompress.export.heads import HEADS, SEQUENCE, SPAN, TOKEN, Head, head_of_class
from bertcompress.model import build_operator, run_for_head
from bertcompress.sources.checkpoint import load_whole, read_config
from bertcompress.space import Architecture, Dimensions, first_token_from, teacher_child

Embed = Callable[[Any, Tensor, Tensor], Tensor]
Classify = Callable[[Any, Tensor], Tensor]
AUTO_CLASSES = {
    SEQUENCE: AutoModelForSequenceClassification,
    TOKEN: AutoModelForTokenClassification,
    SPAN: AutoModelForQuestionAnswering,
}
# Query, key, value, output and layer norm of attention; inner, output and layer norm of the feed-forward.
Layer = tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]


@dataclass(frozen=True)
class Family:
    """How a model type embeds ids (B, T) to (B, T, D), names its layers, and classifies texts, to (B, C).

    Tokens and answers are classified alike in all of them.
    """

    embed: Embed
    layers: Callable[[Any], Iterator[Layer]]
    classify: Classify


class TeacherGraph(nn.Module):
    """A Hugging Face model, its encoder as a chain of our operators; it shares the model's weights.

    Raises:
        TeacherError: the model is none of the family, or has a head that is none of HEADS.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.head = _head_of(type(model).__name__, str(model.config.name_or_path or "model"))
        self.model = model
        self.architecture = teacher_architecture(model.config, self.head)
        self.family = FAMILIES[model.config.model_type]
        eps = float(getattr(model.config, "layer_norm_eps", 1e-12))
        operators = [
            build_operator(operator, self.architecture.dimensions, 0.0, eps)
            for operator in self.architecture.operators
        ]
        halves: list[Any] = list(pairwise(operators))[::2]
        for (attention, feed_forward), layer in zip(halves, self.family.layers(model), strict=True):
            attention.query, attention.key, attention.value, attention.output, attention.norm = layer[:5]
            feed_forward.inner, feed_forward.output, feed_forward.norm = layer[5:]
        self.chain = nn.ModuleList(operators)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        """The head's outputs by name, of ids, mask and segments (B, T)."""
        x = self.family.embed(self.model, input_ids, token_type_ids)
        start = first_token_from(self.architecture.operators, self.architecture.dimensions.pooling)
        x = run_for_head(self.chain, start, x, attention_mask)
        if self.head == SEQUENCE:
            return {"logits": self.family.classify(self.model, x)}
        if self.head == TOKEN:
            return {"logits": _each_token(self.model.classifier, x)}
        ends = _each_token(self.model.qa_outputs, x)  # (B, T, 2)
        return dict(zip(SPAN.outputs, ends.unbind(-1), strict=True))


def _each_token(dense: Any, x: Tensor) -> Tensor:
    """A head's dense layer on x (B, T, D), as one on rows: the int8 quantizer leaves those in fp32."""
    found: Tensor = dense(x.flatten(0, 1))
    return found.unflatten(0, x.shape[:2])


def _head_of(class_name: str, where: str) -> Head:
    head = head_of_class(class_name)
    if head is None:
        known = ", ".join(each.class_suffix for each in HEADS)
        raise TeacherError(f"{where}: holds {class_name}; export takes a model that ends in {known}, "
                           "fine-tune one first")  # fmt: skip
    return head


def load_model(location: str) -> PreTrainedModel:
    """A model of the family with a head, or a compact one, in fp32 and eval mode, from a folder or the Hub.

    Raises:
        TeacherError: it cannot be loaded whole, has no head of HEADS, or is none of the family.
    """
    config = read_config(location, location)
    claimed = config.architectures or ["no head"]
    if isinstance(claimed, str) or len(claimed) > 1:
        raise TeacherError(f"{location}: architectures in its config is {claimed}; name one class in a list")
    head = _head_of(claimed[0], location)
    model, _ = load_whole(AUTO_CLASSES[head], location, subject=location)
    loaded: PreTrainedModel = model
    return loaded


def teacher_architecture(config: PretrainedConfig, head: Head = SEQUENCE) -> Architecture:
    """The chain between the embeddings and the head of a model of the family.

    Raises:
        TeacherError: the model type is none of the family, or the model has another activation or positions.
    """
    problems = []
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise TeacherError(f"{config.name_or_path or 'model'}: is of type {config.model_type}; use {known}")
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if activation != "gelu":
        problems.append(f"hidden_act: {activation!r}; only gelu is exported")
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if positions != "absolute" or getattr(config, "sinusoidal_pos_embds", False):
        problems.append(f"position_embedding_type: {positions!r}; only learned absolute ones are exported")
    if getattr(config, "is_decoder", False):
        problems.append("is_decoder: true; only encoders are exported")
    if problems:
        raise TeacherError.from_problems(str(config.name_or_path or config.model_type), problems)
    heads, hidden_size = config.num_attention_heads, config.hidden_size
    inner = getattr(config, "intermediate_size", None) or config.hidden_dim
    dimensions = Dimensions(
        vocab_size=config.vocab_size,
        hidden_size=hidden_size,
        embedding_size=getattr(config, "embedding_size", hidden_size),
        head_size=hidden_size // heads,
        num_labels=cast(int, config.num_labels),
        pooling="cls" if head == SEQUENCE else "none",
        max_position_embeddings=config.max_position_embeddings,
        type_vocab_size=getattr(config, "type_vocab_size", 2),
    )
    return Architecture(dimensions, teacher_child(config.num_hidden_layers, heads, inner))


def _bert_layers(encoder: Any) -> Iterator[Layer]:
    for layer in encoder.layer:
        attention = layer.attention
        yield (
            attention.self.query,
            attention.self.key,
            attention.self.value,
            attention.output.dense,
            attention.output.LayerNorm,
            layer.intermediate.dense,
            layer.output.dense,
            layer.output.LayerNorm,
        )


def _distilbert_layers(transformer: Any) -> Iterator[Layer]:
    for layer in transformer.layer:
        attention = layer.attention
        yield (
            attention.q_lin,
            attention.k_lin,
            attention.v_lin,
            attention.out_lin,
            layer.sa_layer_norm,
            layer.ffn.lin1,
            layer.ffn.lin2,
            layer.output_layer_norm,
        )


def _electra_embed(model: Any, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
    x = model.electra.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
    return model.electra.embeddings_project(x) if hasattr(model.electra, "embeddings_project") else x


FAMILIES = {
    "bert": Family(
        lambda model, ids, segments: model.bert.embeddings(input_ids=ids, token_type_ids=segments),
        lambda model: _bert_layers(model.bert.encoder),
        lambda model, x: model.classifier(model.bert.pooler(x)),
    ),
    "roberta": Family(
        lambda model, ids, segments: model.roberta.embeddings(input_ids=ids, token_type_ids=segments),
        lambda model: _bert_layers(model.roberta.encoder),
        lambda model, x: model.classifier(x),
    ),
    "distilbert": Family(
        lambda model, ids, segments: model.distilbert.embeddings(ids),
        lambda model: _distilbert_layers(model.distilbert.transformer),
        lambda model, x: model.classifier(torch.relu(model.pre_classifier(x[:, 0]))),
    ),
    "electra": Family(
        _electra_embed,
        lambda model: _bert_layers(model.electra.encoder),
        lambda model, x: model.classifier(x),
    ),
}
