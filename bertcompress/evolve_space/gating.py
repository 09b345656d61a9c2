"""Differentiable fitness: some operators of a position run side by side, weighed by what is learnt of them.

AutoSpace (Zhou et al. 2021, arXiv 2103.11833) stacks K sampled cells in parallel, weighs their outputs by
their scores, and learns the scores with the weights by back-propagation. So here, on any chain: a logit for
each (position, operator), a softmax over those that were sampled. `search.autospace` decides what evolves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, cast

import torch
from torch import Tensor, nn

from bertcompress.data.batches import BatchSource
from bertcompress.data.random_state import random_state, set_random_state
from bertcompress.supernet.chain import ChainNetwork, Choices, Op, SupernetOutput
from bertcompress.supernet.train import InputsOf, TaskLoss
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, FitSettings, fit, model_inputs

Bundle: TypeAlias = tuple[tuple[Op, ...], ...]


class GatedChain(nn.Module):
    """A chain whose positions run several operators at once: their outputs' mean, weighed by the fitness.

    `network` is a ChainNetwork. The logits are scalars of their own and not one tensor, so that an optimizer
    leaves alone those that a step did not sample; they start at `logits`, or at zero.
    """

    def __init__(
        self, network: nn.Module, choices: Choices[Any], logits: Sequence[Mapping[Any, float]] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.choices = tuple(tuple(operators) for operators in choices)
        starts = logits or [dict.fromkeys(operators, 0.0) for operators in self.choices]
        self.fitness = nn.ModuleList(
            nn.ParameterList(nn.Parameter(torch.tensor(float(start[operator]))) for operator in operators)
            for operators, start in zip(self.choices, starts, strict=True)
        )

    def gates(self, position: int, operators: Sequence[Any]) -> Tensor:
        """Softmax over the fitness of the sampled operators of a position, (K,)."""
        logits = dict(self._logits(position))
        chosen = [logits[operator] for operator in operators]
        return torch.softmax(torch.stack(chosen), dim=0)

    def logits(self) -> list[dict[Any, float]]:
        """The fitness of every operator, a mapping a position."""
        return [
            {operator: logit.item() for operator, logit in self._logits(position)}
            for position in range(len(self.choices))
        ]

    def _logits(self, position: int) -> Iterator[tuple[Any, Tensor]]:
        return zip(self.choices[position], cast(nn.ParameterList, self.fitness[position]), strict=True)

    def forward(self, bundle: Bundle[Any], *, learn_fitness: bool = True, **inputs: Any) -> SupernetOutput:
        """Run the sampled operators of each position; `inputs` are those of the network.

        Without `learn_fitness` no gradient comes to the logits.
        """
        network: ChainNetwork = self.network  # type: ignore[assignment]
        x = network.run_stem(inputs)
        states = [x]
        for position, operators in enumerate(bundle):
            outputs = [network.run_position(x, position, operator, inputs) for operator in operators]
            gates = self.gates(position, operators)
            gates = gates if learn_fitness else gates.detach()
            x = sum((gate * output for gate, output in zip(gates, outputs, strict=True)), x.new_zeros(()))
            states.append(x)
        return SupernetOutput(network.run_head(x, inputs), tuple(states))


class BundleSampler(Generic[Op]):
    """`paths` different operators of every position at random, or all where it has fewer."""

    def __init__(self, choices: Choices[Op], paths: int, rng: random.Random) -> None:
        self._choices, self._paths, self._rng = choices, paths, rng

    def next_bundle(self) -> Bundle[Op]:
        """The next operators to run side by side, one tuple a position."""
        return tuple(
            tuple(self._rng.sample(list(operators), min(self._paths, len(operators))))
            for operators in self._choices
        )

    def state(self) -> dict[str, Any]:
        """Where the stream is, as JSON values."""
        return {"rng": random_state(self._rng)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        set_random_state(self._rng, state["rng"])


@dataclass(frozen=True)
class FitnessSettings:
    """How the fitness is learnt: `paths` operators at a time, from `start_fraction` of the steps on.

    Before that, new operators catch up with those that are trained already. Logits learn at `rate_factor`
    times the weights' rate, and do not decay.
    """

    paths: int = 2
    start_fraction: float = 0.3
    rate_factor: float = 100.0


class _FitnessStep:
    """One update of weights and fitness, as `fit` calls it."""

    def __init__(
        self,
        task_loss: TaskLoss,
        sampler: BundleSampler[Any],
        first_step: int,
        inputs_of: InputsOf,
    ) -> None:
        self._task_loss, self._sampler = task_loss, sampler
        self._first_step, self._inputs_of = first_step, inputs_of

    def losses(self, model: nn.Module, batch: Batch, step: int) -> Iterator[Tensor]:
        learns = step >= self._first_step
        bundle = self._sampler.next_bundle()
        yield self._task_loss(model(bundle, learn_fitness=learns, **self._inputs_of(batch)).logits, batch)

    def after_step(self, step: int) -> None:
        """Nothing follows an update."""

    def state(self) -> dict[str, Any]:
        return self._sampler.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._sampler.restore(state)


def train_fitness(
    chain: GatedChain,
    split: BatchSource,
    task_loss: TaskLoss,
    settings: FitSettings,
    chosen: FitnessSettings,
    *,
    weight_groups: Sequence[dict[str, Any]],
    inputs_of: InputsOf = model_inputs,
    rng: random.Random,
    log: TrainingLog,
) -> None:
    """Train the weights and the fitness of `chain` together, in place.

    `weight_groups` are the optimizer's groups of the network's weights. A killed training goes on from its
    checkpoint.
    """
    step = _FitnessStep(
        task_loss,
        BundleSampler(chain.choices, chosen.paths, random.Random(rng.getrandbits(64))),
        int(chosen.start_fraction * settings.num_steps),
        inputs_of,
    )
    fitness = {"params": list(chain.fitness.parameters()), "factor": chosen.rate_factor, "weight_decay": 0.0}
    groups = [*weight_groups, fitness]
    fit(chain, split, step.losses, settings, rng=rng, log=log, parameter_groups=groups, hooks=step)
