"""The supernet: every operator of every position in one module, and the child to run as an argument."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bertcompress.model.chain import initialize
from bertcompress.model.embeddings import Embeddings
from bertcompress.model.head import ClassificationHead
from bertcompress.model.operators import build_operator
from bertcompress.space import IDENTITY, Child, Operator, SearchSpace
from bertcompress.supernet.chain import Inputs, SupernetOutput, run_chain


class SuperBert(nn.Module):
    """All children of a space over one set of weights, owned per position and operator; a ChainNetwork.

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
                    if operator != IDENTITY
                }
            )
            for operators in space.choices
        )
        self.head = ClassificationHead(dimensions, dropout=dropout)
        initialize(self, generator)

    @property
    def choices(self) -> tuple[tuple[Operator, ...], ...]:
        """The space's operators of each position."""
        return self.space.choices

    def module_at(self, position: int, operator: Operator) -> nn.Module | None:
        """The module of an operator at a position; None for identity."""
        modules = cast(nn.ModuleDict, self.positions[position])
        return None if operator == IDENTITY else modules[operator.name]

    def run_stem(self, inputs: Inputs) -> Tensor:
        """The embeddings' output, (B, T, D)."""
        return self.embeddings(inputs["input_ids"], inputs.get("token_type_ids"))

    def run_position(self, x: Tensor, position: int, operator: Operator, inputs: Inputs) -> Tensor:
        """The position's output, (B, T, D), for the input `x` (B, T, D)."""
        module = self.module_at(position, operator)
        return x if module is None else module(x, inputs["attention_mask"])

    def run_head(self, x: Tensor, inputs: Inputs) -> Tensor:
        """Logits (B, C) from the chain's output (B, T, D)."""
        return self.head(x, inputs["attention_mask"])

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
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        logits, states = run_chain(self, inputs, architecture)
        return SupernetOutput(logits, tuple(states), attention_mask)
