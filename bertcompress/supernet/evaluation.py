"""Evaluation of many children on fixed batches: what a child shares with an earlier one is not computed anew.

Exact, because a prefix computes the same whatever follows it: the same batches go through the same modules in
the same order as in plain evaluation. `PrefixEvaluator` knows chains only, `supernet_evaluator` knows BERT.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bertcompress.data.batches import epoch_batches, in_row_order
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.space import Child, Operator, placed_steps
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.prefix_cache import PrefixCache
from bertcompress.training.loop import Batch, model_inputs

Step = TypeVar("Step", bound=Hashable)
Inputs = TypeVar("Inputs")


class PrefixEvaluator(Generic[Step, Inputs]):
    """Runs chains of steps over fixed batches: `start` once, `apply` a step, `finish` at the end.

    `can_grow(path)` says whether a longer chain may begin with `path`; only such results are kept.
    The weights behind the three functions must not change while the evaluator lives.
    """

    def __init__(
        self,
        batches: Sequence[Inputs],
        *,
        start: Callable[[Inputs], Tensor],
        apply: Callable[[Step, Tensor, Inputs], Tensor],
        finish: Callable[[Tensor, Inputs], Tensor],
        can_grow: Callable[[Sequence[Step]], bool],
        limit_bytes: int,
    ) -> None:
        self._batches, self._start, self._apply, self._finish = batches, start, apply, finish
        self._can_grow = can_grow
        self.cache: PrefixCache[Step] = PrefixCache(limit_bytes)
        self.num_steps_asked = 0
        self.num_steps_computed = 0

    @torch.inference_mode()
    def outputs(self, path: Sequence[Step]) -> list[Tensor]:
        """What `finish` gives at the end of `path`, one tensor a batch."""
        length, states = self.cache.longest(path)
        if states is None:
            states = [self._start(inputs) for inputs in self._batches]
            self._keep((), states)
        for end in range(length + 1, len(path) + 1):
            step = path[end - 1]
            pairs = zip(states, self._batches, strict=True)
            states = [self._apply(step, state, inputs) for state, inputs in pairs]
            self._keep(path[:end], states)
        self.num_steps_asked += len(path)
        self.num_steps_computed += len(path) - length
        return [self._finish(state, inputs) for state, inputs in zip(states, self._batches, strict=True)]

    def _keep(self, prefix: Sequence[Step], states: list[Tensor]) -> None:
        if self._can_grow(prefix):
            self.cache.keep(prefix, states)


class SupernetEvaluator:
    """Logits of a supernet's children over one split, in eval mode, with the shared weights."""

    def __init__(
        self, supernet: SuperBert, split: TokenizedSplit, *, limit_bytes: int, batch_size: int = 64
    ) -> None:
        self._supernet = supernet.eval()
        device = next(supernet.parameters()).device
        self._batches = epoch_batches(split, batch_size, None)
        last = supernet.space.num_positions - 1
        self.prefixes: PrefixEvaluator[tuple[int, Operator], Batch] = PrefixEvaluator(
            [_on_device(split.batch(rows), device) for rows in self._batches],
            start=supernet.run_stem,
            apply=lambda step, state, batch: supernet.run_position(state, *step, batch),
            finish=supernet.run_head,
            can_grow=lambda path: not path or path[-1][0] < last,
            limit_bytes=limit_bytes,
        )

    def logits(self, child: Child) -> Tensor:
        """Logits (N, C) in the split's row order, bit for bit those of plain evaluation.

        Raises:
            SpaceError: the child is not of the supernet's space.
        """
        self._supernet.space.require(child)
        outputs = self.prefixes.outputs(placed_steps(child))
        return in_row_order([output.float().cpu() for output in outputs], self._batches)


def _on_device(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in model_inputs(batch).items()}
