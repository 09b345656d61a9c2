"""Which heads and neurons of a teacher matter: first-order Taylor importance.

Michel et al. 2019 (arXiv 1905.10650) for heads, Molchanov et al. 2017 (arXiv 1611.06440) for neurons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from bertcompress.model.operators.attention import head_carrier, head_scores, head_weight_scores
from bertcompress.model.operators.feed_forward import neuron_carrier, neuron_weight_scores

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "labels")


@dataclass(frozen=True)
class Importance:
    """Scores of a teacher's heads (layers, heads) and feed-forward neurons (layers, intermediate_size).

    Comparable within a layer only.
    """

    heads: Tensor
    neurons: Tensor


def weight_importance(teacher: BertForSequenceClassification) -> Importance:
    """Importance without data: the size of the weights that carry a head or a neuron to the output."""
    layers: list[Any] = list(teacher.bert.encoder.layer)
    num_heads = teacher.config.num_attention_heads
    heads = [head_weight_scores(layer, num_heads) for layer in layers]
    return Importance(torch.stack(heads), torch.stack([neuron_weight_scores(layer) for layer in layers]))


def measure_importance(
    teacher: BertForSequenceClassification, batches: Iterable[Mapping[str, Tensor]]
) -> Importance:
    """Importance for a task: |activation x gradient of the loss|, summed over labelled examples.

    The product is summed over an example's tokens (and over a head's numbers) before the absolute value.

    Raises:
        ValueError: there is no batch.
    """
    captured: dict[nn.Module, Tensor] = {}

    def capture(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if not arguments[0].requires_grad:  # all weights below are frozen
            arguments[0].requires_grad_()
        captured[module] = arguments[0]

    layers: list[Any] = list(teacher.bert.encoder.layer)
    carriers = [head_carrier(layer) for layer in layers] + [neuron_carrier(layer) for layer in layers]
    hooks = [carrier.register_forward_pre_hook(capture) for carrier in carriers]
    was_training = teacher.training
    teacher.eval()
    totals: list[Tensor] | None = None
    try:
        for batch in batches:
            inputs = {key: value.to(teacher.device) for key, value in batch.items() if key in _INPUTS}
            loss = teacher(**inputs).loss * len(inputs["labels"])
            activations = [captured[carrier] for carrier in carriers]
            gradients = torch.autograd.grad(loss, activations)
            scores = [
                (activation * gradient).detach().sum(dim=1)  # (B, T, W) to (B, W)
                for activation, gradient in zip(activations, gradients, strict=True)
            ]
            scores = _per_head(scores, len(layers), teacher.config.num_attention_heads)
            sums = [score.abs().sum(dim=0) for score in scores]
            totals = sums if totals is None else [a + b for a, b in zip(totals, sums, strict=True)]
    finally:
        for hook in hooks:
            hook.remove()
        teacher.train(was_training)
    if totals is None:
        raise ValueError("importance needs at least one batch")
    heads, neurons = totals[: len(layers)], totals[len(layers) :]
    return Importance(torch.stack(heads).cpu(), torch.stack(neurons).cpu())


def _per_head(scores: list[Tensor], num_layers: int, num_heads: int) -> list[Tensor]:
    return [head_scores(score, num_heads) for score in scores[:num_layers]] + scores[num_layers:]
