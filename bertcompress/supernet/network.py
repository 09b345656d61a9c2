"""The supernet: every operator of every position in one module, and the child to run as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from bertcompress.model.embeddings import Embeddings
from bertcompress.model.head import ClassificationHead
from bertcompress.model.operators import build_operator, initialize
from bertcompress.space import Child, Operator, SearchSpace


@dataclass(frozen=True)
class SupernetOutput:
    """Logits (B, C), and the hidden states (B, T, D): the embeddings' output, then one a position.

    An identity repeats the tensor before it.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...]


class SuperBert(nn.Module):
    """All children of a space over one set of weights, owned per position and operator.

    Stateless in the child: nothing is remembered between calls. Weights are drawn from `generator`.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        dropout: float = 0.1,
        layer_norm_eps: float = 1e-12,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.space, self.dropout, self.layer_norm_eps = space, dropout, layer_norm_eps
        dimensions = space.dimensions
        self.embeddings = Embeddings(dimensions, dropout=dropout, layer_norm_eps=layer_norm_eps)
        self.positions = nn.ModuleList(
            nn.ModuleDict(
                {
                    operator.name: build_operator(operator, dimensions, dropout, layer_norm_eps)
                    for operator in operators
                    if operator.kind != "identity"
                }
            )
            for operators in space.choices
        )
        self.head = ClassificationHead(dimensions, dropout=dropout)
        initialize(self, generator)

    def module_at(self, position: int, operator: Operator) -> nn.Module | None:
        """The module of an operator at a position; None for identity."""
        modules = cast(nn.ModuleDict, self.positions[position])
        return None if operator.kind == "identity" else modules[operator.name]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        *,
        architecture: Child,
    ) -> SupernetOutput:
        """Run one child on ids (B, T) and a mask of 0 and 1 (B, T).

        Raises:
            SpaceError: the child is not of this supernet's space.
        """
        self.space.require(architecture)
        x = self.embeddings(input_ids, token_type_ids)
        states = [x]
        for position, operator in enumerate(architecture):
            module = self.module_at(position, operator)
            x = x if module is None else module(x, attention_mask)
            states.append(x)
        return SupernetOutput(self.head(x, attention_mask), tuple(states))
