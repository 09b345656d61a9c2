"""Interference: laws of the measurement on a small chain of dense layers, which is not BERT."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bertcompress.diagnostics.interference import (
    Comparison,
    ProbedChain,
    compare,
    cosine,
    draw_pair,
    measure_interference,
    observe,
    possible_distances,
    row_similarity,
    shared_positions,
)
from bertcompress.diagnostics.interference_summary import summarize_interference, summarize_mixing
from bertcompress.diagnostics.intervention import MIXES, Mixed, measure_mixing, mix_signals
from bertcompress.diagnostics.proxies import gradient_proxies

WIDTH, NUM_POSITIONS = 8, 4
OPERATORS = ("relu", "tanh", "gelu", "none")
Batch = tuple[Tensor, Tensor]


class Layer(nn.Module):
    """A dense residual operator; its second argument is ignored, as a mask might be."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.dense = nn.Linear(WIDTH, WIDTH)
        self.activation = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}[name]

    def forward(self, x: Tensor, unused: None) -> Tensor:
        return x + self.activation(self.dense(x))


class DenseChain:
    """A supernet of Layers whose children regress y (n, 1) on x (n, WIDTH)."""

    def __init__(self, num_positions: int = NUM_POSITIONS, operators: Sequence[str] = OPERATORS) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = [
                {name: Layer(name) for name in operators if name != "none"} for _ in range(num_positions)
            ]
            self.head = nn.Linear(WIDTH, 1)
        self.probed: ProbedChain[str, Batch] = ProbedChain(
            [list(operators)] * num_positions, self.module_at, self.loss_of
        )

    def module_at(self, position: int, operator: str) -> nn.Module | None:
        return self.layers[position].get(operator)

    def loss_of(self, child: tuple[str, ...], batch: Batch) -> Tensor:
        x, y = batch
        for position, operator in enumerate(child):
            module = self.module_at(position, operator)
            x = x if module is None else module(x, None)
        return (self.head(x) - y).square().mean()


def make_batches(count: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(16, WIDTH, generator=generator), torch.randn(16, 1, generator=generator))
        for _ in range(count)
    ]


@pytest.fixture
def chain() -> ProbedChain[str, Batch]:
    return DenseChain().probed


def test_a_child_agrees_with_itself(chain: ProbedChain[str, Batch]) -> None:
    child, batches = ("relu", "none", "tanh", "gelu"), make_batches()
    rows = list(compare(chain, child, child, (batches[0], batches[1]), 0))
    assert [row.position for row in rows] == [0, 2, 3]  # "none" has no weights to share
    for row in rows:
        assert row.distance == 0
        for value in (row.cosine, row.input_similarity, row.output_similarity):
            assert value == pytest.approx(1, abs=1e-5)
        assert row.output_gradient_similarity == pytest.approx(1, abs=1e-5)
        assert row.cosine_other_batch < 0.999


def test_the_observed_gradient_is_the_one_that_training_would_apply(
    chain: ProbedChain[str, Batch],
) -> None:
    child, batch = ("relu", "tanh", "tanh", "gelu"), make_batches()[0]
    seen = observe(chain, child, batch, [1])[1]
    module = chain.module_at(1, "tanh")
    assert module is not None
    assert all(weight.grad is None for weight in module.parameters())
    chain.loss_of(child, batch).backward()
    trained = torch.cat([weight.grad.flatten() for weight in module.parameters() if weight.grad is not None])
    torch.testing.assert_close(seen.gradient, trained)
    torch.testing.assert_close(seen.output, module(seen.input, None).detach())
    # The chain rule through the last bias: the rows' output gradients, gated by tanh, add up to its gradient.
    assert isinstance(module, Layer)
    gate = 1 - torch.tanh(module.dense(seen.input)).detach().square()
    torch.testing.assert_close((seen.output_gradient * gate).sum(0), module.dense.bias.grad)


def test_hooks_are_gone_afterwards(chain: ProbedChain[str, Batch]) -> None:
    child = ("relu", "tanh", "tanh", "gelu")
    before = chain.loss_of(child, make_batches()[0])
    observe(chain, child, make_batches()[0], [0, 1, 2, 3])
    mix_signals(chain, child, ("gelu", "tanh", "tanh", "gelu"), make_batches()[0], 2, 0)
    for position, operator in enumerate(child):
        module = chain.module_at(position, operator)
        assert module is not None
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.equal(chain.loss_of(child, make_batches()[0]), before)


def test_observing_an_operator_without_weights_is_refused(chain: ProbedChain[str, Batch]) -> None:
    with pytest.raises(ValueError, match="none has no weights"):
        observe(chain, ("none", "relu", "relu", "relu"), make_batches()[0], [0])


@given(num_positions=st.integers(2, 9), seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_pair_differs_in_exactly_the_distance(num_positions: int, seed: int, data: st.DataObject) -> None:
    chain = DenseChain(num_positions).probed
    distances = possible_distances(chain.choices)
    assert distances[0] == 1
    assert distances[-1] == num_positions - 1
    assert len(distances) <= 6
    distance = data.draw(st.sampled_from(distances))
    pair = draw_pair(chain, distance, random.Random(seed))
    assert pair is not None
    assert sum(a != b for a, b in zip(*pair, strict=True)) == distance
    assert shared_positions(chain, *pair)


def test_positions_without_a_choice_never_differ() -> None:
    dense = DenseChain()
    choices = [["relu"], list(OPERATORS), ["tanh"], list(OPERATORS)]
    chain = ProbedChain(choices, dense.module_at, dense.loss_of)
    assert possible_distances(choices) == [1, 2]
    found = measure_interference(chain, make_batches(), num_pairs=5, rng=random.Random(0))
    assert {row.distance for row in found} == {1, 2}
    assert {row.position for row in found if row.operator in ("relu", "tanh")} >= {0, 2}


def test_only_accepted_children_are_compared() -> None:
    dense = DenseChain()
    chain = ProbedChain(
        [list(OPERATORS)] * NUM_POSITIONS,
        dense.module_at,
        dense.loss_of,
        accepts=lambda child: child.count("relu") <= 1,
    )
    for seed in range(50):
        pair = draw_pair(chain, 2, random.Random(seed))
        assert pair is not None
        assert all(child.count("relu") <= 1 for child in pair)
    nothing = ProbedChain(chain.choices, dense.module_at, dense.loss_of, accepts=lambda child: False)
    assert measure_interference(nothing, make_batches(), num_pairs=2, rng=random.Random(0)) == []


def test_one_batch_is_not_enough(chain: ProbedChain[str, Batch]) -> None:
    with pytest.raises(ValueError, match="two or more"):
        measure_interference(chain, make_batches(1), num_pairs=1, rng=random.Random(0))


def test_the_same_generator_gives_the_same_pairs(chain: ProbedChain[str, Batch]) -> None:
    runs = [measure_interference(chain, make_batches(), num_pairs=4, rng=random.Random(3)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_similarity_ignores_what_all_rows_have_in_common() -> None:
    rows = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    assert row_similarity(rows, rows + 100) == pytest.approx(1, abs=1e-4)
    assert row_similarity(rows, -rows) == pytest.approx(-1, abs=1e-4)
    assert cosine(torch.zeros(3), torch.ones(3)) == 0


def test_taking_over_both_signals_makes_the_gradients_equal(chain: ProbedChain[str, Batch]) -> None:
    found = measure_mixing(chain, make_batches(), num_pairs=6, rng=random.Random(0))
    assert len(found) == 18
    by_pair: dict[int, dict[str, Mixed]] = {}
    for row in found:
        by_pair.setdefault(row.pair, {})[row.signal] = row
    for signals in by_pair.values():
        assert signals["both"].cosines[-1] == pytest.approx(1, abs=1e-5)
        assert len({row.cosines[0] for row in signals.values()}) == 1
        assert signals["input"].cosines[-1] != signals["input"].cosines[0]


def test_without_output_gradients_there_is_nothing_to_agree_on() -> None:
    # The gradient of a dense layer is (output gradient)^T input: without the one, the other is nothing.
    dense = DenseChain(2, ("relu", "tanh"))
    for layer in dense.layers[1].values():
        assert isinstance(layer, Layer)
        layer.activation = lambda x: x
    dense.head.weight.data.zero_()
    rows = mix_signals(dense.probed, ("relu", "tanh"), ("tanh", "tanh"), make_batches()[0], 1, 0)
    assert all(row.cosines == (0,) * len(MIXES) for row in rows)


def planted_comparisons(num_pairs: int = 60) -> list[Comparison]:
    """Cosines that fall with the distance and, given it, follow the output gradients only."""
    rng = np.random.default_rng(0)
    found = []
    for pair in range(num_pairs):
        distance = pair % 4 + 1
        for position in range(2):
            noise = rng.normal(size=4)
            gradient = -0.2 * distance + noise[0]
            found.append(
                Comparison(
                    pair=pair,
                    position=position,
                    operator="relu",
                    kind="even" if position == 0 else "odd",
                    distance=distance,
                    distance_before=position,
                    cosine=float(-0.5 * distance + gradient + 0.1 * noise[3]),
                    cosine_other_batch=float(noise[1]),
                    input_similarity=float(-0.5 * distance + noise[1]),
                    output_similarity=float(-0.5 * distance + noise[2]),
                    output_gradient_similarity=float(gradient),
                )
            )
    return found


def test_the_summary_tells_a_cause_from_its_company() -> None:
    found = summarize_interference(planted_comparisons(), seed=0)
    assert found["num_pairs"] == 60
    assert found["distance_spearman"]["high"] < 0
    assert found["nearest_minus_farthest"]["low"] > 0
    similarities = found["similarities"]
    assert similarities["input"]["spearman"]["low"] > 0  # in company of the distance
    assert similarities["input"]["partial"]["low"] < 0 < similarities["input"]["partial"]["high"]
    assert similarities["output_gradient"]["given_others"]["low"] > 0.7
    assert [row["distance"] for row in found["by_distance"]] == [1, 2, 3, 4]
    means = [row["cosine"]["value"] for row in found["by_distance"]]
    assert means == sorted(means, reverse=True)
    assert set(found["kinds"]) == {"even", "odd"}
    assert sum(kind["count"] for kind in found["kinds"].values()) == found["num_comparisons"]


def test_a_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no pair"):
        summarize_interference([], seed=0)
    assert summarize_mixing([], seed=0)["num_pairs"] == 0


def test_monotone_is_read_from_the_means_and_counted_over_pairs() -> None:
    rising, falling = (0.1, 0.2, 0.3, 0.4, 0.5), (0.3, 0.2, 0.3, 0.4, 0.5)
    found = summarize_mixing(
        [Mixed(0, 1, "relu", "input", rising), Mixed(1, 1, "relu", "input", falling)], seed=0
    )["input"]
    assert not found["monotone"]
    assert found["monotone_pairs"] == 0.5
    assert found["rise"]["value"] == pytest.approx(0.3)
    assert [point["value"] for point in found["cosines"]] == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.5])


def test_a_real_chain_goes_through_to_the_summary(chain: ProbedChain[str, Batch]) -> None:
    rows = measure_interference(chain, make_batches(), num_pairs=10, rng=random.Random(0))
    found = summarize_interference(rows, seed=0)
    assert found["by_distance"][0]["cosine"]["value"] > found["by_distance"][-1]["cosine"]["value"]
    assert found["distance_spearman"]["value"] < 0


def test_proxies_are_zero_exactly_where_nothing_can_be_learnt() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nets = {"alive": nn.Linear(3, 1), "dead": nn.Linear(3, 1)}
    batch = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))

    def loss_of(child: str, batch: torch.Tensor) -> torch.Tensor:
        return (nets[child](batch) * (child == "alive")).square().mean()

    found = gradient_proxies(
        list(nets), [batch], loss_of=loss_of, weights_of=lambda child: list(nets[child].parameters())
    )
    assert found["gradient_norm"][0] > 0
    assert found["snip"][0] > 0
    assert found["gradient_norm"][1] == found["snip"][1] == 0
    weight, bias = nets["alive"].parameters()
    loss_of("alive", batch).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    by_hand = (weight * weight.grad).abs().sum() + (bias * bias.grad).abs().sum()
    assert found["snip"][0] == pytest.approx(by_hand.item())
