"""Weights handed on from one supernet to the next: what both have is taken over, as evolution goes on."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bertcompress.model.operators import SeparableConvolution
from bertcompress.supernet.network import SuperBert


def inherit(supernet: SuperBert, older: SuperBert) -> None:
    """Take over from `older`, in place, all that both have; the rest keeps the weights that it has.

    A convolution of a new kernel size starts from the older position's nearest one, its kernel cut or padded
    with zeros in the middle: no teacher has a convolution to start from. Both are of the same dimensions.
    """
    supernet.embeddings.load_state_dict(older.embeddings.state_dict())
    supernet.head.load_state_dict(older.head.state_dict())
    for ours, theirs in zip(supernet.positions, older.positions, strict=True):
        modules, known = cast(nn.ModuleDict, ours), cast(nn.ModuleDict, theirs)
        for name, module in modules.items():
            if name in known:
                module.load_state_dict(known[name].state_dict())
            elif isinstance(module, SeparableConvolution):
                _from_nearest_kernel(module, known)


def _from_nearest_kernel(module: SeparableConvolution, known: nn.ModuleDict) -> None:
    kernel = module.depthwise.weight.shape[-1]
    alike = [other for other in known.values() if isinstance(other, SeparableConvolution)]
    if not alike:
        return
    nearest = min(alike, key=lambda other: abs(other.depthwise.weight.shape[-1] - kernel))
    state = nearest.state_dict()
    state["depthwise.weight"] = resized_kernel(state["depthwise.weight"], kernel)
    module.load_state_dict(state)


def resized_kernel(weight: Tensor, kernel: int) -> Tensor:
    """A depthwise weight (D, 1, 1, k) with an odd kernel of another size, the middle kept: (D, 1, 1, kernel).

    Padded with zeros it convolves to the same.
    """
    edge = (kernel - weight.shape[-1]) // 2  # negative cuts
    return torch.nn.functional.pad(weight, (edge, edge))
