"""Between Hugging Face's BERT and the chain: the same weights under other names, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from bertcompress.errors import TeacherError
from bertcompress.model.compact import CompactBertForSequenceClassification
from bertcompress.model.config import CompactBertConfig
from bertcompress.space import BERT_LAYER, KINDS, Architecture, Dimensions, Pooling, teacher_child


def bert_dimensions(
    config: BertConfig,
    *,
    pooling: Pooling = "cls",
    embedding_size: int | None = None,
    num_labels: int | None = None,
) -> Dimensions:
    """Dimensions of a space at the width of a BERT; what is not given is as in the BERT."""
    return Dimensions(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        embedding_size=config.hidden_size if embedding_size is None else embedding_size,
        head_size=config.hidden_size // config.num_attention_heads,
        num_labels=cast(int, config.num_labels) if num_labels is None else num_labels,
        pooling=pooling,
        max_position_embeddings=config.max_position_embeddings,
        type_vocab_size=config.type_vocab_size,
    )


def bert_architecture(config: BertConfig) -> Architecture:
    """The chain that a BERT classifier is.

    Raises:
        TeacherError: the model has an activation, positions or a decoder that the chain does not have.
    """
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    problems = []
    if config.hidden_act != "gelu":
        problems.append(f"hidden_act: {config.hidden_act!r}; only gelu can be a chain")
    if positions != "absolute":
        problems.append(f"position_embedding_type: {positions!r}; only absolute can be a chain")
    if config.is_decoder:
        problems.append("is_decoder: true; only an encoder can be a chain")
    if problems:
        raise TeacherError.from_problems(config.name_or_path or "BERT configuration", problems)
    child = teacher_child(config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
    return Architecture(bert_dimensions(config), child)


def compact_from_bert(bert: BertForSequenceClassification) -> CompactBertForSequenceClassification:
    """The same network as a compact model, its weights copied.

    Raises:
        TeacherError: see bert_architecture.
    """
    config = bert.config
    compact = CompactBertForSequenceClassification(
        CompactBertConfig.from_architecture(
            bert_architecture(config),
            dropout=config.hidden_dropout_prob,
            layer_norm_eps=config.layer_norm_eps,
            pad_token_id=config.pad_token_id or 0,
            id2label=config.id2label,
            label2id=config.label2id,
        )
    )
    for ours, theirs in _paired_modules(compact, bert):
        ours.load_state_dict(theirs.state_dict())
    return nn.Module.to(compact, bert.device).train(bert.training)


def stock_obstacles(architecture: Architecture) -> list[str]:
    """Why an architecture is no stock BERT, each reason in a few words; none where it is one.

    BERT alternates attention and feed-forward of equal sizes, with heads that fill the hidden size,
    unfactorized embeddings and "cls" pooling.
    """
    dimensions, operators = architecture.dimensions, architecture.operators
    hidden_size, kinds = dimensions.hidden_size, [operator.kind for operator in operators]
    obstacles = []
    num_layers = len(operators) // len(BERT_LAYER)
    if not operators or kinds != [kind.word for kind in BERT_LAYER] * num_layers:
        obstacles.append("its operators do not alternate attention and feed-forward")
    elif operators != operators[: len(BERT_LAYER)] * num_layers:
        obstacles.append("its layers differ in size")
    problems = [KINDS[each.kind].stock_problem(each.size, dimensions) for each in sorted(set(operators))]
    obstacles += [problem for problem in problems if problem is not None]
    if dimensions.embedding_size != hidden_size:
        obstacles.append(f"its embeddings are factorized, {dimensions.embedding_size} for {hidden_size}")
    if dimensions.pooling != "cls":
        obstacles.append(f"it pools by {dimensions.pooling}, not by the first token")
    return obstacles


def as_stock_bert(compact: CompactBertForSequenceClassification) -> BertForSequenceClassification | None:
    """The same network as Hugging Face's own BERT, its weights copied; None where BERT has no such network.

    See stock_obstacles.
    """
    config, architecture = compact.config, compact.architecture
    if stock_obstacles(architecture):
        return None
    dimensions, (attention, feed_forward) = architecture.dimensions, architecture.operators[:2]
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=dimensions.vocab_size,
            hidden_size=dimensions.hidden_size,
            num_hidden_layers=len(architecture.operators) // 2,
            num_attention_heads=attention.size,
            intermediate_size=feed_forward.size,
            max_position_embeddings=dimensions.max_position_embeddings,
            type_vocab_size=dimensions.type_vocab_size,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            layer_norm_eps=config.layer_norm_eps,
            pad_token_id=config.pad_token_id,
            id2label=config.id2label,
            label2id=config.label2id,
        )
    )
    for ours, theirs in _paired_modules(compact, bert):
        theirs.load_state_dict(ours.state_dict())
    return nn.Module.to(bert, compact.device).train(compact.training)


def _paired_modules(
    compact: CompactBertForSequenceClassification, bert: BertForSequenceClassification
) -> Iterator[tuple[nn.Module, nn.Module]]:
    ours: Any = compact.embeddings
    theirs: Any = bert.bert.embeddings
    yield ours.word, theirs.word_embeddings
    yield ours.position, theirs.position_embeddings
    yield ours.token_type, theirs.token_type_embeddings
    yield ours.norm, theirs.LayerNorm
    halves: list[Any] = list(pairwise(compact.chain))[::2]
    layers: list[Any] = list(bert.bert.encoder.layer)
    for halves_of_layer, layer in zip(halves, layers, strict=True):
        for half in halves_of_layer:
            yield from half.pairs_with_bert(layer)
    pooler: Any = bert.bert.pooler
    yield compact.head.dense, pooler.dense
    yield compact.head.classifier, bert.classifier
