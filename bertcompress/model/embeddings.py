"""The embeddings: as BERT's (Devlin et al. 2019), or with ALBERT's factorized words (Lan et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertcompress.space import Dimensions


class Embeddings(nn.Module):
    """Word, position and segment embeddings, summed and normalised: ids (B, T) to (B, T, D).

    Words have `embedding_size` numbers each, projected to D where that is narrower.
    """

    def __init__(self, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float) -> None:
        super().__init__()
        width = dimensions.hidden_size
        self.word = nn.Embedding(dimensions.vocab_size, dimensions.embedding_size)
        self.projection = (
            nn.Linear(dimensions.embedding_size, width, bias=False)
            if dimensions.embedding_size < width
            else None
        )
        self.position = nn.Embedding(dimensions.max_position_embeddings, width)
        self.token_type = nn.Embedding(dimensions.type_vocab_size, width)
        self.norm = nn.LayerNorm(width, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        words = self.word(input_ids)  # (B, T, E)
        if self.projection is not None:
            words = self.projection(words)  # (B, T, D)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)  # (T,)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        summed = words + self.token_type(token_type_ids) + self.position(positions)
        return self.dropout(self.norm(summed))
