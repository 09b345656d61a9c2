"""Projected gradients: no conflict with the last one is left, and what was remembered is taken up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bertcompress.space import Dimensions, SearchSpace
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.projection import GradientProjection


@pytest.fixture
def supernet() -> SuperBert:
    dimensions = Dimensions(
        vocab_size=97, hidden_size=32, embedding_size=32, head_size=8, num_labels=2, pooling="mean"
    )
    space = SearchSpace.uniform(dimensions, 3, ["mha2", "mha4", "ffn32", "conv3", "identity"])
    return SuperBert(space, generator=torch.Generator().manual_seed(7))


def test_projection_leaves_no_conflict_with_the_last_gradient(supernet: SuperBert) -> None:
    child = supernet.space.largest()
    projection = GradientProjection(supernet.module_at, supernet.choices)
    generator = torch.Generator().manual_seed(0)
    modules = [supernet.module_at(position, operator) for position, operator in enumerate(child)]
    before: list[Tensor] = []
    num_conflicts = 0
    for _ in range(6):
        fresh = []
        for module in modules:
            assert module is not None
            for parameter in module.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            fresh.append(flat_gradient(module))
        projection.project([child])
        for old, new, module in zip(before or fresh, fresh, modules, strict=True):
            assert module is not None
            after = flat_gradient(module)
            if new @ old < 0:
                num_conflicts += 1
                assert after @ old == pytest.approx(0.0, abs=1e-2)
                torch.testing.assert_close(after, new - (new @ old) / (old @ old) * old)
            else:
                assert torch.equal(after, new)
        before = fresh
    assert num_conflicts > 3


def test_projection_takes_up_what_it_remembered(supernet: SuperBert) -> None:
    child = supernet.space.largest()
    module = supernet.module_at(0, child[0])
    assert module is not None

    def project_along(sign: float, projection: GradientProjection) -> Tensor:
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, sign)
        projection.project([child])
        return flat_gradient(module)

    first, restored = (GradientProjection(supernet.module_at, supernet.choices) for _ in range(2))
    assert (project_along(1.0, first) == 1.0).all()
    restored.restore(first.state())
    # The opposite direction is nothing but conflict, and all of it goes.
    torch.testing.assert_close(project_along(-1.0, restored), torch.zeros_like(flat_gradient(module)))


def flat_gradient(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).clone()
