"""Gradient projection: what would undo an operator's last update is left out of the next one.

After PCGrad, Yu et al. 2020, arXiv 2001.06782, section 2.3, whose tasks are here the children that share an
operator; the other child's gradient is remembered, not computed again, so a step costs two dot products an
operator, and each operator's gradient is kept in memory once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

ModuleAt = Callable[[int, Any], nn.Module | None]


class GradientProjection:
    """Remembers each operator's gradient, `decay` of it old; `decay` 0 is the last child that used it."""

    def __init__(
        self, module_at: ModuleAt, choices: Sequence[Sequence[Hashable]], decay: float = 0.0
    ) -> None:
        self._module_at, self._choices, self._decay = module_at, choices, decay
        self._remembered: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def project(self, children: Sequence[Sequence[Hashable]]) -> None:
        """Change the gradients of the operators of `children`, whose losses have been backpropagated.

        Where the gradient g and the remembered r disagree (g . r < 0), g loses its part along r.
        """
        for position, operator in sorted({used for child in children for used in self._numbered(child)}):
            module = self._module_at(position, self._choices[position][operator])
            if module is not None:
                self._project(f"{position}.{operator}", _gradients(module))

    def _numbered(self, child: Sequence[Hashable]) -> list[tuple[int, int]]:
        pairs = enumerate(zip(self._choices, child, strict=True))
        return [(position, operators.index(operator)) for position, (operators, operator) in pairs]

    def _project(self, name: str, gradients: list[Tensor]) -> None:
        fresh = [gradient.clone() for gradient in gradients]
        remembered = self._remembered.get(name)
        if remembered is None:
            self._remembered[name] = fresh
            return
        along, size = _dot(gradients, remembered), _dot(remembered, remembered)
        if along < 0:
            for gradient, old in zip(gradients, remembered, strict=True):
                gradient.sub_(along / size * old)
        self._remembered[name] = [
            new.lerp_(old, self._decay) for new, old in zip(fresh, remembered, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """The remembered gradients by position, operator and number."""
        return {
            f"{name}.{number}": tensor
            for name, tensors in self._remembered.items()
            for number, tensor in enumerate(tensors)
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._remembered = {}
        for key in sorted(state, key=lambda key: int(key.rpartition(".")[2])):
            self._remembered.setdefault(key.rpartition(".")[0], []).append(state[key])


def _gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return torch.stack([a.flatten().dot(b.flatten()) for a, b in zip(one, other, strict=True)]).sum()
