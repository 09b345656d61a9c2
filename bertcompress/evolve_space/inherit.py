"""Weights handed on from one supernet to the next: what both have is taken over, as evolution goes on."""

from __future__ import annotations

from typing import cast

from torch import nn

from bertcompress.model.operators import OperatorModule
from bertcompress.space import Operator
from bertcompress.supernet.network import SuperBert


def inherit(supernet: SuperBert, older: SuperBert) -> None:
    """Take over from `older`, in place, all that both have; both are of the same dimensions.

    An operator of a new size starts from the older position's operators of its kind where no teacher has one
    to start from (`OperatorModule.start_from_alike`); the rest keeps the weights that it has.
    """
    supernet.embeddings.load_state_dict(older.embeddings.state_dict())
    supernet.head.load_state_dict(older.head.state_dict())
    for ours, theirs in zip(supernet.positions, older.positions, strict=True):
        modules, known = cast(nn.ModuleDict, ours), cast(nn.ModuleDict, theirs)
        for name, module in modules.items():
            if name in known:
                module.load_state_dict(known[name].state_dict())
                continue
            kind = Operator.parse(name).kind
            alike = [other for word, other in known.items() if Operator.parse(word).kind == kind]
            cast(OperatorModule, module).start_from_alike(alike)
