"""Training of a supernet over any chain: a strategy picks a step's children and may add to the task's loss.

The task's loss is the caller's, usually distillation, and so is what a batch gives the network as inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic

import torch
from accelerate.utils import broadcast_object_list, reduce
from torch import Tensor, nn

from bertcompress.data.batches import BatchSource
from bertcompress.supernet.alignment import Anchor, alignment_loss
from bertcompress.supernet.chain import Inputs, Op, SupernetOutput, as_indices, from_indices
from bertcompress.supernet.strategy import Strategy
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, FitResult, FitSettings, fit, model_inputs, predict

TaskLoss = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
InputsOf = Callable[[Batch], Inputs]


def train_supernet(
    network: nn.Module,
    split: BatchSource,
    task_loss: TaskLoss,
    settings: FitSettings,
    *,
    strategy: Strategy[Op],
    parameter_groups: Sequence[dict[str, Any]] | None = None,
    inputs_of: InputsOf = model_inputs,
    rng: random.Random,
    log: TrainingLog,
) -> tuple[FitResult, Anchor[tuple[Op, ...]] | None]:
    """Train `network`, a ChainNetwork, in place; returns the anchor too (None without alignment)."""
    step = SupernetStep(network, task_loss, strategy, settings.num_steps, inputs_of=inputs_of, log=log)
    result = fit(
        network, split, step.losses, settings, rng=rng, log=log, parameter_groups=parameter_groups, hooks=step
    )
    return result, step.anchor


class SupernetStep(Generic[Op]):
    """One update of a supernet, as `fit` calls it: the losses, and what happens around the update."""

    def __init__(
        self,
        network: nn.Module,
        task_loss: TaskLoss,
        strategy: Strategy[Op],
        num_steps: int,
        *,
        inputs_of: InputsOf = model_inputs,
        log: TrainingLog | None = None,
    ) -> None:
        self._network, self._task_loss, self._strategy = network, task_loss, strategy
        self._num_steps, self._inputs_of, self._log = num_steps, inputs_of, log
        first = None if strategy.alignment is None else strategy.alignment.anchor
        self.anchor: Anchor[tuple[Op, ...]] | None = None if first is None else Anchor(first)
        self.children: list[tuple[Op, ...]] = []

    def losses(self, model: nn.Module, batch: Batch, step: int) -> Iterator[Tensor]:
        """The loss of each child of the update; `model` is the network as accelerate wrapped it."""
        inputs, imitation = self._inputs_of(batch), self._strategy.imitation
        self.children, first = [], None
        for _ in range(self._strategy.children_per_update):
            child = self._strategy.sampler.next_child()
            self.children.append(child)
            output: SupernetOutput = model(**inputs, architecture=child)
            loss = self._task_loss(output.logits, batch)
            if first is None:
                first = loss.detach(), output.logits.detach()
            elif imitation is not None:
                first_loss, first_logits = first
                # Over the rows of all processes, so that all teach, or none.
                knows_more = reduce(first_loss - loss.detach(), "mean") < 0
                loss = torch.where(knows_more, imitation(output.logits, first_logits), loss)
            yield self._align(loss, output, inputs, step)

    def _align(self, loss: Tensor, output: SupernetOutput, inputs: Inputs, step: int) -> Tensor:
        alignment, child = self._strategy.alignment, self.children[-1]
        if alignment is None:
            return loss
        if self.anchor is None:
            self.anchor = Anchor(child)
        weight = alignment.ramp.at(step, self._num_steps)
        if weight == 0.0 or self.anchor.child == child:
            return loss
        rows = slice(None, None, alignment.one_row_in)
        some = {name: value[rows] if isinstance(value, Tensor) else value for name, value in inputs.items()}
        # Without dropout: the target is steady, costs less, and no random number is drawn for it.
        with torch.no_grad(), evaluated(self._network):
            target: SupernetOutput = self._network(**some, architecture=self.anchor.child)
        ours = [state[rows] for state in output.hidden_states]
        pull = alignment_loss(ours, target.hidden_states, target.mask, inputs=alignment.inputs)
        return loss + weight * pull

    def after_step(self, step: int) -> None:
        """Replace the anchor by the child of this step, when it is time and the child is better."""
        alignment = self._strategy.alignment
        if alignment is None or alignment.dev_loss is None or (step + 1) % alignment.check_every:
            return
        assert self.anchor is not None, "a step with alignment sets the anchor"
        dev_loss = alignment.dev_loss

        def agreed_loss(child: tuple[Op, ...]) -> float:
            # The first process decides: a rounding apart, and they would go on with different anchors.
            return float(broadcast_object_list([dev_loss(child)])[0])

        replaced = self.anchor.consider(self.children[-1], agreed_loss)
        self._network.train()
        if self._log is not None:
            self._log.write(step + 1, {"anchor_replaced": float(replaced)})

    def state(self) -> dict[str, Any]:
        """Sampler and anchor."""
        anchor = self.anchor
        return {
            "sampler": self._strategy.sampler.state(),
            "anchor": None if anchor is None else as_indices(self._choices, anchor.child),
            "num_replacements": 0 if anchor is None else anchor.num_replacements,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._strategy.sampler.restore(state["sampler"])
        if state["anchor"] is not None:
            self.anchor = Anchor(from_indices(self._choices, state["anchor"]))
            self.anchor.num_replacements = state["num_replacements"]

    @property
    def _choices(self) -> Sequence[Sequence[Op]]:
        choices: Sequence[Sequence[Op]] = self._network.choices  # type: ignore[assignment]  # of ChainNetwork
        return choices


@contextmanager
def evaluated(network: nn.Module) -> Iterator[None]:
    """The network in eval mode inside the block, and as it was after it."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def child_logits(
    network: nn.Module,
    child: Sequence[Any],
    split: BatchSource,
    *,
    batch_size: int = 64,
    inputs_of: InputsOf = model_inputs,
) -> Tensor:
    """Logits (N, C) of one child over `split`, with the shared weights, in eval mode."""
    network.eval()
    device = next(network.parameters()).device

    def logits_of(batch: Batch) -> Tensor:
        inputs = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in inputs_of(batch).items()
        }
        logits: Tensor = network(**inputs, architecture=child).logits
        return logits

    return predict(logits_of, split, batch_size=batch_size)
