"""Zero-cost proxies: scores of a child before any training, which a trained supernet has to beat.

Gradient norm and connection sensitivity, as compared by Abdelfattah et al. 2021 (arXiv 2101.08134)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

C = TypeVar("C")
B = TypeVar("B")


def gradient_proxies(
    children: Sequence[C],
    batches: Sequence[B],
    *,
    loss_of: Callable[[C, B], Tensor],
    weights_of: Callable[[C], Sequence[nn.Parameter]],
) -> dict[str, list[float]]:
    """Both proxies of every child, a mean over the batches; more is taken to be better.

    `gradient_norm` sums the norms of the weights' gradients. `snip` sums |weight x gradient|, the loss that
    removing single weights would cost (Lee et al. 2019, arXiv 1810.02340).
    `weights_of` gives a child's weights.
    """
    norms, sensitivities = [], []
    for child in children:
        weights = [weight for weight in weights_of(child) if weight.requires_grad]
        norm = sensitivity = 0.0
        for batch in batches:
            gradients = torch.autograd.grad(loss_of(child, batch), weights, materialize_grads=True)
            norm += sum(float(gradient.norm()) for gradient in gradients)
            pairs = zip(weights, gradients, strict=True)
            sensitivity += sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs)
        norms.append(norm / len(batches))
        sensitivities.append(sensitivity / len(batches))
    return {"gradient_norm": norms, "snip": sensitivities}
