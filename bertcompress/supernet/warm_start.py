"""Start a supernet from a BERT teacher: smaller operators take its most important heads and neurons.

At the teacher's own sizes the alternating child becomes the teacher, weight for weight."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from bertcompress.errors import TeacherError
from bertcompress.model.chain import initialize
from bertcompress.model.convert_bert import bert_architecture
from bertcompress.model.operators import BertLayer, OperatorModule
from bertcompress.space import IDENTITY, Child, Dimensions, SearchSpace, operator_parameters
from bertcompress.supernet.importance import Importance, weight_importance
from bertcompress.supernet.network import SuperBert


def warm_start(
    supernet: SuperBert,
    teacher: BertForSequenceClassification,
    *,
    importance: Importance | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Set the supernet's weights from the teacher's, in place; the rest is drawn from `generator`.

    Position p of N starts from teacher layer p * L // N, which is p // 2 where the chain is as long as the
    teacher's. Kinds that no BERT has stay random, and so does a head of another shape.
    Without `importance` (see measure_importance) the size of the weights decides.

    Raises:
        TeacherError: the teacher is not a chain, or its width, vocabulary or head size are not the space's.
    """
    _require_same_width(supernet.space.dimensions, teacher)
    importance = weight_importance(teacher) if importance is None else importance
    initialize(supernet, generator)
    with torch.no_grad():
        _copy_embeddings(supernet, teacher)
        num_layers = teacher.config.num_hidden_layers
        for position, modules in enumerate(supernet.positions.children()):
            index = position * num_layers // len(supernet.positions)
            layer = BertLayer(
                teacher.bert.encoder.layer[index], importance.heads[index], importance.neurons[index]
            )
            for module in modules.children():
                cast(OperatorModule, module).start_from_bert(layer)
        head, pooler = supernet.head, teacher.bert.pooler
        if pooler is not None and head.dense.weight.shape == pooler.dense.weight.shape:
            head.dense.load_state_dict(pooler.dense.state_dict())
            if head.classifier.weight.shape == teacher.classifier.weight.shape:
                head.classifier.load_state_dict(teacher.classifier.state_dict())


def nearest_to_teacher(space: SearchSpace, teacher: Child) -> Child:
    """The child that is the teacher's chain, or is as near to it as the space allows.

    Each position has the teacher's operator there, or else the largest of its kind, or else the largest of
    all; positions beyond the teacher's chain have the identity, where they may.
    """
    child = []
    for position, operators in enumerate(space.choices):
        wanted = teacher[position] if position < len(teacher) else IDENTITY
        alike = [operator for operator in operators if operator.kind == wanted.kind] or operators
        sizes = {operator: operator_parameters(operator, space.dimensions) for operator in alike}
        child.append(wanted if wanted in alike else max(alike, key=sizes.__getitem__))
    return tuple(child)


def factorize(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Words (V, rank) and projection (D, rank) with words @ projection.T nearest to `weight` (V, D).

    A truncated singular value decomposition, by the eigenvectors of the Gram matrix; exact at full rank.
    """
    exact = weight.double()
    _, directions = torch.linalg.eigh(exact.T @ exact)  # ascending
    projection = directions[:, -rank:]  # (D, rank), orthonormal
    return (exact @ projection).to(weight.dtype), projection.to(weight.dtype)


def _require_same_width(dimensions: Dimensions, teacher: BertForSequenceClassification) -> None:
    theirs = bert_architecture(teacher.config).dimensions
    problems = [
        f"{key}: {getattr(theirs, key)}, but the space has {getattr(dimensions, key)}; make them equal"
        for key in ("vocab_size", "hidden_size", "head_size")
        if getattr(theirs, key) != getattr(dimensions, key)
    ]
    problems += [
        f"{key}: {getattr(theirs, key)}, but the space has {getattr(dimensions, key)}; use at most the former"
        for key in ("max_position_embeddings", "type_vocab_size")
        if getattr(theirs, key) < getattr(dimensions, key)
    ]
    if problems:
        raise TeacherError.from_problems(teacher.config.name_or_path or "teacher", problems)


def _copy_embeddings(supernet: SuperBert, teacher: BertForSequenceClassification) -> None:
    ours, theirs = supernet.embeddings, teacher.bert.embeddings
    words = theirs.word_embeddings.weight
    if ours.projection is None:
        ours.word.weight.copy_(words)
    else:
        factor, projection = factorize(words, ours.projection.in_features)
        ours.word.weight.copy_(factor)
        ours.projection.weight.copy_(projection)
    ours.position.weight.copy_(theirs.position_embeddings.weight[: ours.position.num_embeddings])
    ours.token_type.weight.copy_(theirs.token_type_embeddings.weight[: ours.token_type.num_embeddings])
    ours.norm.load_state_dict(theirs.LayerNorm.state_dict())
