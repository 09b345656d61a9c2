"""Plain Hugging Face classifiers of BERT's family as graphs that fuse: BERT, RoBERTa, DistilBERT and ELECTRA.

The family differs in its embeddings and its head, which run as they are. Between them lies the same chain of
attention and feed-forward everywhere, which runs as our operators on the model's own weights, because those
export to fused nodes on every version of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from bertcompress.errors import TeacherError
from bertcompress.model import build_operator, run_for_head
from bertcompress.space import Architecture, Dimensions, first_token_from, teacher_child

Embed = Callable[[Any, Tensor, Tensor], Tensor]
Head = Callable[[Any, Tensor], Tensor]
HEAD_SUFFIX = "ForSequenceClassification"
# Query, key, value, output and layer norm of attention; inner, output and layer norm of the feed-forward.
Layer = tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]


@dataclass(frozen=True)
class Family:
    """How a model type embeds ids (B, T) to (B, T, D), names its layers, and classifies that to (B, C)."""

    embed: Embed
    layers: Callable[[Any], Iterator[Layer]]
    head: Head


class TeacherGraph(nn.Module):
    """A Hugging Face classifier, its encoder as a chain of our operators; it shares the model's weights."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.family = FAMILIES[model.config.model_type]
        self.architecture = teacher_architecture(model.config)
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

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> SequenceClassifierOutput:
        """Logits (B, C) of ids, mask and segments (B, T)."""
        x = self.family.embed(self.model, input_ids, token_type_ids)
        start = first_token_from(self.architecture.operators, self.architecture.dimensions.pooling)
        x = run_for_head(self.chain, start, x, attention_mask)
        return SequenceClassifierOutput(logits=self.family.head(self.model, x))


def load_classifier(location: str) -> PreTrainedModel:
    """A classifier of the family, or a compact one, in fp32 and eval mode, from a folder or the Hub.

    Raises:
        TeacherError: it cannot be loaded, has no classification head, or is none of the family.
    """
    try:
        config = AutoConfig.from_pretrained(location)
        headed = any(name.endswith(HEAD_SUFFIX) for name in config.architectures or ())
        if not headed:
            raise TeacherError(
                f"{location}: holds {', '.join(config.architectures or ()) or 'no head'}; export takes a "
                f"model that ends in {HEAD_SUFFIX}, fine-tune one first"
            )
        model = AutoModelForSequenceClassification.from_pretrained(
            location, dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise TeacherError(f"{location}: cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    return model.eval()


def label_names_of(config: PretrainedConfig) -> list[str]:
    """The names of the labels in the order of the logits."""
    id2label = cast(dict[int, str], config.id2label)
    return [id2label[index] for index in sorted(id2label)]


def teacher_architecture(config: PretrainedConfig) -> Architecture:
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
        pooling="cls",
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
