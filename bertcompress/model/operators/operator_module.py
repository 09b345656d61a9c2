"""What the module of an operator offers, besides being an `nn.Module`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from bertcompress.space import Dimensions, Operator


@dataclass(frozen=True)
class BertLayer:
    """A layer of a teacher (Hugging Face's BertLayer), and how important its parts are.

    `heads` (heads,) and `neurons` (intermediate_size,) are scores, comparable within the layer.
    """

    module: Any
    heads: Tensor
    neurons: Tensor


class OperatorModule(Protocol):
    """The module of one operator of a chain: x = LN(x + dropout(op(x))), on x (B, T, D)."""

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None: ...

    def __call__(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        """Return (B, T, D) for x (B, T, D) and a mask (B, T); with `first_token`, (B, 1, D)."""

    def start_from_bert(self, layer: BertLayer) -> None:
        """Take over weights of a teacher's layer, in place; a kind that BERT lacks leaves its own."""

    def start_from_alike(self, others: Sequence[Any]) -> None:
        """Take over weights of trained modules of this kind in other sizes, in place.

        A kind that starts from a teacher's layer leaves its own as they are.
        """


def most_important(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` highest scores, or of all, in ascending order."""
    # In the teacher's order, so that taking all of them is a plain copy.
    return scores.topk(min(count, len(scores))).indices.sort().values
