"""Take one child out of the supernet, as a model of its own."""

from __future__ import annotations

from torch import nn

from bertcompress.model.compact import CompactBertForSequenceClassification
from bertcompress.model.config import CompactBertConfig
from bertcompress.space import Child
from bertcompress.supernet.network import SuperBert


def extract(supernet: SuperBert, child: Child) -> CompactBertForSequenceClassification:
    """The child in canonical form, with copies of its weights; gives the supernet's logits for it.

    Raises:
        SpaceError: the child is not of the supernet's space.
    """
    architecture = supernet.space.architecture(child)
    config = CompactBertConfig.from_architecture(
        architecture, dropout=supernet.dropout, layer_norm_eps=supernet.layer_norm_eps
    )
    compact = CompactBertForSequenceClassification(config)
    kept = [supernet.module_at(position, operator) for position, operator in enumerate(child)]
    # load_state_dict copies: a view would keep the whole supernet alive in memory.
    compact.embeddings.load_state_dict(supernet.embeddings.state_dict())
    for ours, theirs in zip(compact.chain, (module for module in kept if module is not None), strict=True):
        ours.load_state_dict(theirs.state_dict())
    compact.head.load_state_dict(supernet.head.state_dict())
    weight = supernet.head.classifier.weight
    return nn.Module.to(compact, device=weight.device, dtype=weight.dtype).train(supernet.training)
