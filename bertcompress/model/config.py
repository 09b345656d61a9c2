"""The Hugging Face configuration of a compact model: dimensions and chain, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from transformers import PretrainedConfig

from bertcompress.space import Architecture, Dimensions, Operator, Pooling


class CompactBertConfig(PretrainedConfig):
    """Configuration of the compact classifier; `operators` holds words like "mha6" and "conv3".

    Raises:
        SpaceError: from `architecture`, when the values are not buildable.
    """

    model_type = "compact_bert"

    def __init__(
        self,
        *,
        vocab_size: int = 30522,
        hidden_size: int = 384,
        embedding_size: int | None = None,
        head_size: int = 32,
        pooling: Pooling = "cls",
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        operators: Sequence[str] = (),
        dropout: float = 0.1,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pad_token_id = pad_token_id
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.embedding_size = hidden_size if embedding_size is None else embedding_size
        self.head_size = head_size
        self.pooling = pooling
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.operators = list(operators)
        self.dropout = dropout
        self.layer_norm_eps = layer_norm_eps

    @classmethod
    def from_architecture(
        cls, architecture: Architecture, *, dropout: float = 0.1, layer_norm_eps: float = 1e-12, **kwargs: Any
    ) -> CompactBertConfig:
        """The configuration of an architecture; `kwargs` are Hugging Face's own, e.g. id2label."""
        values = architecture.to_dict()
        return cls(
            **values["dimensions"],
            operators=values["operators"],
            dropout=dropout,
            layer_norm_eps=layer_norm_eps,
            **kwargs,
        )

    @property
    def architecture(self) -> Architecture:
        """The architecture, which counts its parameters."""
        dimensions = Dimensions(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            embedding_size=self.embedding_size,
            head_size=self.head_size,
            num_labels=cast(int, self.num_labels),
            pooling=self.pooling,
            max_position_embeddings=self.max_position_embeddings,
            type_vocab_size=self.type_vocab_size,
        )
        return Architecture(dimensions, tuple(Operator.parse(name) for name in self.operators))
