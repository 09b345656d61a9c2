"""A stand-alone compact model that Hugging Face's Auto classes load: embeddings, a fixed chain, a head."""

from __future__ import annotations

from itertools import accumulate
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from bertcompress.model.chain import initialize, run_for_head
from bertcompress.model.config import CompactBertConfig
from bertcompress.model.embeddings import Embeddings
from bertcompress.model.head import ClassificationHead
from bertcompress.model.operators import build_operator
from bertcompress.space import Architecture, first_token_from


class CompactBertForSequenceClassification(PreTrainedModel):
    """A sequence classifier whose encoder is any chain of the search space."""

    config_class = CompactBertConfig
    base_model_prefix = "compact_bert"
    main_input_name = "input_ids"

    def __init__(self, config: CompactBertConfig) -> None:
        super().__init__(config)
        architecture = config.architecture
        dimensions, dropout, eps = architecture.dimensions, config.dropout, config.layer_norm_eps
        self.num_labels = dimensions.num_labels
        self.embeddings = Embeddings(dimensions, dropout=dropout, layer_norm_eps=eps)
        self.chain = nn.ModuleList(
            build_operator(operator, dimensions, dropout, eps) for operator in architecture.operators
        )
        self.head = ClassificationHead(dimensions, dropout=dropout)
        self._first_token_from = first_token_from(architecture.operators, dimensions.pooling)
        self.post_init()

    @property
    def architecture(self) -> Architecture:
        """What this model is, with its exact counts."""
        return self.config.architecture

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings, (V, E)."""
        return self.embeddings.word

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings, e.g. by fewer rows."""
        self.embeddings.word = cast(nn.Embedding, value)

    def _init_weights(self, module: nn.Module) -> None:
        # Hugging Face calls this on every module, leaves first; containers own no weights.
        if not list(module.children()):
            initialize(module)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Logits (B, C) from ids (B, T) and a mask of 0 and 1 (B, T); a loss too when labels (B,) are given.

        Hidden states, when asked for: the embeddings' output, then one (B, T, D) an operator.
        """
        if attention_mask is None:
            attention_mask = input_ids.new_ones(input_ids.shape)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.embeddings(input_ids, token_type_ids)
        states = None
        if wanted:
            states = tuple(accumulate(self.chain, lambda x, operator: operator(x, attention_mask), initial=x))
            x = states[-1]
        else:
            x = run_for_head(self.chain, self._first_token_from, x, attention_mask)
        logits = self.head(x, attention_mask)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        output = SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=states)
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()
