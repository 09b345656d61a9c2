"""The search space: a chain x = LN(x + op(x)) with a choice of operators at every position, counted exactly.

Needs no torch, so that recipes, searchers and the command line can count and validate. At the teacher's width
the chain that alternates attention and feed-forward is BERT itself (Devlin et al. 2019).

operators holds the kinds of operators, one a file; architecture is one network and its counts, search_space
the choices.
"""

from __future__ import annotations

from bertcompress.space.architecture import (
    Architecture,
    first_token_from,
    operator_macs,
    operator_parameters,
)
from bertcompress.space.dimensions import Dimensions, Pooling
from bertcompress.space.operators import (
    BERT_LAYER,
    IDENTITY,
    KINDS,
    BertSizes,
    Child,
    Operator,
    OperatorKind,
    canonical,
    child_name,
    placed_steps,
    teacher_child,
    uniform_bert_operators,
)
from bertcompress.space.search_space import SearchSpace

__all__ = [
    "BERT_LAYER",
    "IDENTITY",
    "KINDS",
    "Architecture",
    "BertSizes",
    "Child",
    "Dimensions",
    "Operator",
    "OperatorKind",
    "Pooling",
    "SearchSpace",
    "canonical",
    "child_name",
    "first_token_from",
    "operator_macs",
    "operator_parameters",
    "placed_steps",
    "teacher_child",
    "uniform_bert_operators",
]
