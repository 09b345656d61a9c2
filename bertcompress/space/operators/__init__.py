"""The operators that a position of a chain can hold: one file a kind, all of them in `registry.KINDS`."""

from bertcompress.space.operators.bert_layer import BERT_LAYER, teacher_child, uniform_bert_operators
from bertcompress.space.operators.kind import GELU, BertSizes, FusedNode, OperatorKind, SizeSource
from bertcompress.space.operators.operator import (
    IDENTITY,
    Child,
    Operator,
    canonical,
    child_name,
    placed_steps,
)
from bertcompress.space.operators.registry import KINDS

__all__ = [
    "BERT_LAYER",
    "GELU",
    "IDENTITY",
    "KINDS",
    "BertSizes",
    "Child",
    "FusedNode",
    "Operator",
    "OperatorKind",
    "SizeSource",
    "canonical",
    "child_name",
    "placed_steps",
    "teacher_child",
    "uniform_bert_operators",
]
