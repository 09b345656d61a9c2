"""The differentiable fitness: what is sampled learns, what is not stays, the planted good one is found."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertcompress.evolve_space.gating import BundleSampler, FitnessSettings, GatedChain, train_fitness
from bertcompress.evolve_space.inherit import inherit
from bertcompress.model.operators.convolution import SeparableConvolution, resized_kernel
from bertcompress.space import Dimensions, SearchSpace
from bertcompress.supernet import SuperBert
from bertcompress.training import loop as training
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import FitSettings, seeded

OPERATORS = ("linear", "zero", "constant", "skip")
DIMENSIONS = Dimensions(
    vocab_size=97, hidden_size=32, embedding_size=16, head_size=8, num_labels=2, pooling="mean"
)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x


class Constant(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.arange(float(width)))

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x + self.value


class ToyChain(nn.Module):
    """A chain of vectors (B, 4); "linear" alone can turn them, "skip" has no weights."""

    def __init__(self, num_positions: int = 2) -> None:
        super().__init__()
        self.choices = (OPERATORS,) * num_positions
        self.positions = nn.ModuleList(
            nn.ModuleDict({"linear": nn.Linear(4, 4), "zero": Zero(), "constant": Constant(4)})
            for _ in range(num_positions)
        )
        self.shift = nn.Parameter(torch.zeros(4))
        self.head = nn.Linear(4, 2, bias=False)
        # The classes lie in the two numbers that this head does not see: an operator has to move them.
        self.head.weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
        self.head.requires_grad_(False)

    def module_at(self, position: int, operator: str) -> nn.Module | None:
        return None if operator == "skip" else self.positions[position][operator]

    def run_stem(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return inputs["x"] + self.shift

    def run_position(self, x: Tensor, position: int, operator: str, inputs: Mapping[str, Tensor]) -> Tensor:
        module = self.module_at(position, operator)
        return x if module is None else module(x)

    def run_head(self, x: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.head(x)


class Vectors:
    """Rows (4,) whose class is the sign of the third number; the first two tell nothing."""

    def __init__(self, num_rows: int = 64) -> None:
        self.x = torch.randn(num_rows, 4, generator=torch.Generator().manual_seed(0))
        self.labels = (self.x[:, 2] > 0).long()
        self.lengths = [1] * num_rows

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: list[int]) -> dict[str, Tensor]:
        return {"x": self.x[indices], "labels": self.labels[indices]}


def toy(num_positions: int = 2) -> GatedChain:
    with seeded(0):
        network = ToyChain(num_positions)
    return GatedChain(network, network.choices)


def train(
    chain: GatedChain,
    folder: Path,
    *,
    steps: int = 200,
    checkpoint_every: int | None = None,
    chosen: FitnessSettings | None = None,
    seed: int = 0,
) -> None:
    folder.mkdir(exist_ok=True)
    with seeded(seed) as rng, TrainingLog(folder, "toy", None) as log:
        train_fitness(
            chain,
            Vectors(),
            lambda logits, batch: F.cross_entropy(logits, batch["labels"]),
            FitSettings(steps, 16, 1e-2, checkpoint_every=checkpoint_every),
            chosen or FitnessSettings(rate_factor=4.0),
            weight_groups=[{"params": [*chain.network.positions.parameters(), chain.network.shift]}],
            inputs_of=lambda batch: {"x": batch["x"]},
            rng=rng,
            log=log,
        )


def test_gradient_flows_to_the_fitness_of_what_was_sampled_alone() -> None:
    chain, rows = toy(), Vectors().batch(list(range(8)))
    bundle = (("linear", "skip"), ("zero", "constant", "linear"))
    F.cross_entropy(chain(bundle, x=rows["x"]).logits, rows["labels"]).backward()
    for position, sampled in enumerate(bundle):
        for operator, logit in zip(OPERATORS, chain.fitness[position], strict=True):
            assert (logit.grad is not None) == (operator in sampled)
    assert chain.network.positions[0]["constant"].value.grad is None


def test_an_update_leaves_the_fitness_of_what_it_did_not_sample() -> None:
    chain, rows = toy(), Vectors().batch(list(range(8)))
    optimizer = torch.optim.AdamW(chain.fitness.parameters(), lr=0.1)
    moves = []
    for bundle in ((("linear", "skip"),) * 2, (("zero", "constant"),) * 2):
        before = chain.logits()
        optimizer.zero_grad()
        F.cross_entropy(chain(bundle, x=rows["x"]).logits, rows["labels"]).backward()
        optimizer.step()
        pairs = zip(before, chain.logits(), strict=True)
        moves.append({operator for old, new in pairs for operator in old if old[operator] != new[operator]})
    assert moves[0] <= {"linear", "skip"}
    assert moves[1] <= {"zero", "constant"}
    assert all(moves)


def test_without_learning_the_weights_alone_get_gradients() -> None:
    chain, rows = toy(), Vectors().batch(list(range(8)))
    output = chain((("linear", "skip"),) * 2, learn_fitness=False, x=rows["x"])
    F.cross_entropy(output.logits, rows["labels"]).backward()
    assert all(logit.grad is None for logit in chain.fitness.parameters())
    assert chain.network.positions[0]["linear"].weight.grad is not None


def test_one_operator_a_position_is_the_child() -> None:
    chain, x = toy(), Vectors().x
    output = chain((("linear",), ("constant",)), x=x)
    expected = chain.network.run_head(
        chain.network.run_position(chain.network.run_position(x, 0, "linear", {}), 1, "constant", {}), {}
    )
    torch.testing.assert_close(output.logits, expected)


def test_outputs_are_weighed_by_the_softmax_of_the_sampled() -> None:
    chain, x = toy(1), Vectors().x
    start = [{"linear": 5.0, "zero": 0.0, "constant": 9.0, "skip": 1.0}]
    chain = GatedChain(chain.network, chain.choices, start)
    assert chain.logits() == start
    share = torch.softmax(torch.tensor([0.0, 1.0]), 0)[1]
    torch.testing.assert_close(chain((("zero", "skip"),), x=x).hidden_states[1], share * x)


@pytest.mark.parametrize("paths", [2, 3])
def test_training_finds_the_planted_good_operator(paths: int, tmp_path: Path) -> None:
    chain = toy(1)
    train(chain, tmp_path / "log", chosen=FitnessSettings(paths=paths, rate_factor=4.0))
    (logits,) = chain.logits()
    assert max(logits, key=logits.__getitem__) == "linear"
    assert logits["linear"] - max(logits[name] for name in OPERATORS[1:]) > 0.5


def test_the_fitness_stays_until_it_may_learn(tmp_path: Path) -> None:
    chain = toy()
    train(chain, tmp_path / "log", steps=10, chosen=FitnessSettings(start_fraction=1.0))
    assert all(logit == 0.0 for row in chain.logits() for logit in row.values())


def test_killed_and_resumed_equals_never_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = toy(), toy()
    train(whole, tmp_path / "whole", steps=20, checkpoint_every=5)
    update, taken = training.update, []

    def dying(*arguments, **named):
        taken.append(1)
        if len(taken) == 13:
            raise KeyboardInterrupt
        return update(*arguments, **named)

    monkeypatch.setattr(training, "update", dying)
    with pytest.raises(KeyboardInterrupt):
        train(cut, tmp_path / "cut", steps=20, checkpoint_every=5)
    assert (tmp_path / "cut" / CHECKPOINT_NAME).exists()
    monkeypatch.undo()
    fresh = toy()
    train(fresh, tmp_path / "cut", steps=20, checkpoint_every=5)
    assert fresh.logits() == whole.logits()
    for ours, theirs in zip(fresh.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_bundles_are_different_operators_of_each_position_and_all_of_a_short_one() -> None:
    choices = (("a", "b", "c"), ("d",))
    sampler = BundleSampler(choices, 2, random.Random(0))
    bundles = [sampler.next_bundle() for _ in range(60)]
    assert all(len(set(first)) == len(first) == 2 and second == ("d",) for first, second in bundles)
    assert {frozenset(first) for first, _ in bundles} == {frozenset(pair) for pair in ("ab", "ac", "bc")}
    state = sampler.state()
    following = [sampler.next_bundle() for _ in range(5)]
    sampler.restore(state)
    assert [sampler.next_bundle() for _ in range(5)] == following


def test_survivors_keep_their_weights_and_the_new_keep_theirs() -> None:
    before, after = [["mha2", "conv3"], ["ffn16"]], [["mha2", "mha1"], ["ffn16", "identity"]]
    older, newer = (
        SuperBert(SearchSpace.of_names(DIMENSIONS, names), generator=torch.Generator().manual_seed(seed))
        for seed, names in enumerate((before, after))
    )
    fresh = newer.positions[0]["mha1"].query.weight.clone()
    inherit(newer, older)
    assert torch.equal(newer.positions[0]["mha2"].query.weight, older.positions[0]["mha2"].query.weight)
    assert torch.equal(newer.positions[1]["ffn16"].inner.weight, older.positions[1]["ffn16"].inner.weight)
    assert torch.equal(newer.embeddings.word.weight, older.embeddings.word.weight)
    assert torch.equal(newer.head.dense.weight, older.head.dense.weight)
    assert torch.equal(newer.positions[0]["mha1"].query.weight, fresh)


def test_a_wider_kernel_starts_as_the_same_convolution() -> None:
    older, newer = (
        SuperBert(SearchSpace.of_names(DIMENSIONS, [["identity", *convs]])).eval()
        for convs in (["conv3", "conv9"], ["conv5"])
    )
    inherit(newer, older)
    x, mask = torch.randn(2, 7, 32), torch.ones(2, 7)
    ours, theirs = newer.positions[0]["conv5"], older.positions[0]["conv3"]
    assert isinstance(ours, SeparableConvolution)
    torch.testing.assert_close(ours(x, mask), theirs(x, mask))
    assert resized_kernel(older.positions[0]["conv9"].depthwise.weight, 3).shape == (32, 1, 1, 3)
