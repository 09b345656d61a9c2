"""The pull towards the anchor: its ramp, what it counts, and that collapsing to a constant never pays."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bertcompress.supernet.alignment import Anchor, Ramp, alignment_loss


def test_ramp_is_zero_then_linear_then_flat() -> None:
    ramp = Ramp(2.0, 0.2, 0.4)
    weights = [ramp.at(step, 100) for step in range(100)]
    assert weights[:21] == [0.0] * 21
    assert weights[30] == pytest.approx(1.0)
    assert weights[40:] == [2.0] * 60
    assert weights == sorted(weights)
    assert [Ramp(1.0, 0.5, 0.5).at(step, 4) for step in range(4)] == [0.0, 0.0, 1.0, 1.0]


def states(seed: int, *, num_positions: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 6, 8, generator=generator) for _ in range(num_positions)]


MASK = (torch.arange(6)[None, :] < torch.tensor([6, 4, 2, 1])[:, None]).long()


def test_alignment_gradient_never_reaches_the_anchor() -> None:
    child = [state.requires_grad_() for state in states(0)]
    anchor = [state.requires_grad_() for state in states(1)]
    alignment_loss(child, anchor, MASK).backward()
    assert all(state.grad is None for state in anchor)
    # The state before the chain is no position's output.
    assert child[0].grad is None
    assert all(state.grad is not None and state.grad.abs().sum() > 0 for state in child[1:])


def test_aligning_inputs_counts_what_lies_between_two_positions_twice() -> None:
    child, anchor = states(0), states(1)
    single = [
        alignment_loss([one, one], [other, other], MASK) for one, other in zip(child, anchor, strict=True)
    ]
    before, first, second, last = single
    outputs = alignment_loss(child, anchor, MASK)
    torch.testing.assert_close(outputs, (first + second + last) / 3)
    both = alignment_loss(child, anchor, MASK, inputs=True)
    torch.testing.assert_close(both, (before + 2 * first + 2 * second + last) / 6)


def test_without_a_mask_everything_counts() -> None:
    child, anchor = states(0), states(1)
    everything = torch.ones_like(MASK)
    torch.testing.assert_close(alignment_loss(child, anchor, None), alignment_loss(child, anchor, everything))


def test_padded_tokens_do_not_count() -> None:
    child, anchor = states(0), states(1)
    padding = 1e3 * (1 - MASK).unsqueeze(-1)
    moved = alignment_loss([s + padding for s in child], [s - padding for s in anchor], MASK)
    torch.testing.assert_close(moved, alignment_loss(child, anchor, MASK))


def test_alignment_is_zero_only_at_the_anchor() -> None:
    anchor = states(1)
    assert alignment_loss(anchor, anchor, MASK).item() == 0.0
    assert alignment_loss(states(0), anchor, MASK).item() > 0.0


@given(st.floats(-5, 5), st.floats(1e-2, 1e2))
def test_collapse_to_a_constant_is_never_cheap(constant: float, scale: float) -> None:
    anchor = [scale * state for state in states(1)]
    collapsed = [torch.full_like(state, constant) for state in anchor]
    assert alignment_loss(collapsed, anchor, MASK).item() >= 1.0 - 1e-4


def test_best_constant_costs_one() -> None:
    anchor, kept = states(1), MASK.bool()
    mean = [state[kept].mean(dim=0).expand_as(state) for state in anchor]
    assert alignment_loss(mean, anchor, MASK).item() == pytest.approx(1.0, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(allow_nan=False)), min_size=1, max_size=40))
def test_anchor_never_gets_worse(stream: list[tuple[int, float]]) -> None:
    anchor, losses, replaced = Anchor(0), {0: 1.0}, 0
    for candidate, loss in stream:
        losses.setdefault(candidate, loss)
        before = losses[anchor.child]
        replaced += anchor.consider(candidate, losses.__getitem__)
        assert losses[anchor.child] == min(before, losses[candidate])
    assert anchor.num_replacements == replaced
