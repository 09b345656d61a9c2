"""Training of the supernet by every strategy: what its losses and gradients are, and that it resumes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.errors import RunFolderError
from bertcompress.space import Child, Dimensions, SearchSpace
from bertcompress.supernet.alignment import Alignment, Anchor, Ramp, alignment_loss
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.strategy import STRATEGIES, Strategy, StrategySettings
from bertcompress.supernet.train import SupernetStep, child_logits, train_supernet
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.distill import embedding_groups, soft_cross_entropy
from bertcompress.training.log import TrainingLog, read_curve
from bertcompress.training.loop import FitSettings, model_inputs, seeded

OPERATORS = ["mha2", "mha4", "ffn32", "conv3", "identity"]
NUM_STEPS = 12


@pytest.fixture
def space() -> SearchSpace:
    dimensions = Dimensions(
        vocab_size=97, hidden_size=32, embedding_size=32, head_size=8, num_labels=2, pooling="mean"
    )
    return SearchSpace.uniform(dimensions, 3, OPERATORS)


Step = SupernetStep[Any]


def cross_entropy(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return functional.cross_entropy(logits, batch["labels"])


def make_strategy(
    supernet: SuperBert, split: TokenizedSplit, name: str, *, weight: float = 1.0, **extra: Any
) -> Strategy[Any]:
    space, labels = supernet.space, torch.from_numpy(split.labels)
    alignment: Alignment[Child] = Alignment(
        Ramp(weight, 0.0, 0.25),
        dev_loss=lambda c: functional.cross_entropy(child_logits(supernet, c, split), labels).item(),
        check_every=3,
    )
    parts = StrategySettings(
        space.choices,
        random.Random(3),
        largest=space.largest(),
        smallest=space.smallest(),
        imitation=lambda ours, theirs: soft_cross_entropy(ours, theirs, 1.0),
        **({"alignment": alignment} | extra),
    )
    return STRATEGIES[name](parts)


def new_supernet(space: SearchSpace) -> SuperBert:
    return SuperBert(space, dropout=0.1, generator=torch.Generator().manual_seed(7))


def train(
    space: SearchSpace,
    split: TokenizedSplit,
    name: str,
    folder: Path,
    *,
    settings: FitSettings | None = None,
    task_loss: Callable[[Tensor, Mapping[str, Tensor]], Tensor] = cross_entropy,
    **extra: Any,
) -> tuple[SuperBert, Anchor[Child] | None]:
    """Train a fresh supernet, dropout on; give it back with the last anchor."""
    with seeded(7) as rng, TrainingLog(folder, "supernet", None) as log:
        supernet = new_supernet(space)
        strategy = make_strategy(supernet, split, name, **extra)
        _, anchor = train_supernet(
            supernet,
            split,
            task_loss,
            settings or FitSettings(NUM_STEPS, batch_size=8, learning_rate=1e-3),
            strategy=strategy,
            parameter_groups=embedding_groups(supernet, 1.0),
            rng=rng,
            log=log,
        )
    return supernet, anchor


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize(("aligned", "plain"), [("magic-a", "spos"), ("magic-at", "magic-t")])
def test_alignment_of_weight_zero_changes_no_bit(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path, aligned: str, plain: str
) -> None:
    without, no_anchor = train(space, random_split, plain, tmp_path / plain)
    with_zero, anchor = train(space, random_split, aligned, tmp_path / aligned, weight=0.0)
    assert no_anchor is None
    assert anchor is not None
    assert space.contains(anchor.child)
    assert same_weights(without, with_zero)


def test_alignment_with_weight_changes_the_training(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    plain, _ = train(space, random_split, "spos", tmp_path / "plain")
    aligned, _ = train(space, random_split, "magic-a", tmp_path / "aligned")
    assert not same_weights(plain, aligned)


def test_anchor_without_dev_loss_stays(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    given_child = space.largest()
    for child in (given_child, None):
        fixed: Alignment[Child] = Alignment(Ramp(1.0, 0.0, 0.25), anchor=child, check_every=1)
        first = make_strategy(new_supernet(space), random_split, "magic-a").sampler.next_child()
        _, anchor = train(space, random_split, "magic-a", tmp_path / str(child), alignment=fixed)
        assert anchor is not None
        assert anchor.child == (child or first)
        assert anchor.num_replacements == 0


def step_losses(
    supernet: SuperBert, strategy: Strategy[Any], split: TokenizedSplit
) -> tuple[Step, list[Tensor], dict[str, Tensor]]:
    """The losses of one update on the first rows, each backpropagated, and the gradients that they leave."""
    step = SupernetStep(supernet, cross_entropy, strategy, num_steps=1)
    supernet.zero_grad()
    losses = []
    for loss in step.losses(supernet, split.batch(range(8)), 0):
        loss.backward()
        losses.append(loss.detach())
    return step, losses, gradients(supernet)


def gradients(supernet: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}


def test_no_gradient_reaches_the_anchors_pass(space: SearchSpace, random_split: TokenizedSplit) -> None:
    supernet = new_supernet(space)
    anchor, child = space.largest(), space.smallest()
    fixed: Alignment[Child] = Alignment(Ramp(1.0, 0.0, 0.0), anchor=anchor)
    strategy = make_strategy(supernet, random_split, "magic-a", alignment=fixed, accepts=lambda c: c == child)
    _, (loss,), found = step_losses(supernet, strategy, random_split)
    used = {
        f"positions.{position}.{operator.name}."
        for position, operator in enumerate(child)
        if operator.kind != "identity"
    }
    trained = {name for name in found if name.startswith("positions.")}
    assert all(any(name.startswith(prefix) for prefix in used) for name in trained)
    plain = make_strategy(supernet, random_split, "spos", accepts=lambda c: c == child)
    _, (plain_loss,), _ = step_losses(supernet, plain, random_split)
    assert loss > plain_loss
    assert supernet.training


@pytest.mark.parametrize("one_row_in", [1, 2, 3])
def test_one_row_in_so_many_is_aligned(
    space: SearchSpace, random_split: TokenizedSplit, one_row_in: int
) -> None:
    supernet = new_supernet(space).eval()
    fixed: Alignment[Child] = Alignment(Ramp(1.0, 0.0, 0.0), anchor=space.largest(), one_row_in=one_row_in)
    strategy = make_strategy(supernet, random_split, "magic-a", alignment=fixed)
    step, (loss,), _ = step_losses(supernet, strategy, random_split)
    batch, rows = random_split.batch(range(8)), slice(None, None, one_row_in)
    ours, anchor = (
        supernet(**model_inputs(batch), architecture=child) for child in (step.children[0], space.largest())
    )
    ours_some, anchor_some = ([state[rows] for state in output.hidden_states] for output in (ours, anchor))
    pull = alignment_loss(ours_some, anchor_some, batch["attention_mask"][rows])
    torch.testing.assert_close(loss, cross_entropy(ours.logits, batch) + pull)


def test_the_anchor_runs_without_dropout_and_draws_no_random_number(
    space: SearchSpace, random_split: TokenizedSplit
) -> None:
    supernet = new_supernet(space)
    fixed: Alignment[Child] = Alignment(Ramp(1.0, 0.0, 0.0), anchor=space.largest())
    states = []
    for name in ("spos", "magic-a"):
        with seeded(1):
            step_losses(supernet, make_strategy(supernet, random_split, name, alignment=fixed), random_split)
            states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_accumulated_round_sums_the_gradients_of_its_children(
    space: SearchSpace, random_split: TokenizedSplit
) -> None:
    supernet = new_supernet(space).eval()
    strategy = make_strategy(supernet, random_split, "fair", fair_update="accumulated")
    step, losses, found = step_losses(supernet, strategy, random_split)
    assert len(losses) == len(step.children) == len(OPERATORS)
    batch = random_split.batch(range(8))
    supernet.zero_grad()
    outputs = [supernet(**model_inputs(batch), architecture=child) for child in step.children]
    torch.stack([cross_entropy(output.logits, batch) for output in outputs]).sum().backward()
    torch.testing.assert_close(found, gradients(supernet), rtol=1e-4, atol=1e-6)
    # Every operator of every position has been trained.
    assert {name for name, _ in supernet.positions.named_parameters(prefix="positions")} <= set(found)


@pytest.mark.parametrize("knows_most", [True, False])
def test_sandwich_learns_from_the_largest_where_that_knows_more_and_else_the_task(
    space: SearchSpace, random_split: TokenizedSplit, knows_most: bool
) -> None:
    supernet = new_supernet(space).eval()
    batch = random_split.batch(range(8))
    best = supernet(**model_inputs(batch), architecture=space.largest()).logits.detach()

    def task_loss(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        error = (logits - best).square().mean()
        return error if knows_most else 1 - error

    step = SupernetStep(supernet, task_loss, make_strategy(supernet, random_split, "sandwich"), 10)
    losses = list(step.losses(supernet, batch, 0))
    logits = [supernet(**model_inputs(batch), architecture=child).logits for child in step.children]
    assert step.children[:2] == [space.largest(), space.smallest()]
    own = [task_loss(theirs, batch) for theirs in logits]
    wanted = [soft_cross_entropy(theirs, best, 1.0) for theirs in logits] if knows_most else own
    torch.testing.assert_close(losses, [own[0], *wanted[1:]])


class KilledError(RuntimeError):
    """Stands for the end of the process."""


def killed_at(step: int) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
    """The loss, which ends the process when it is computed for the given time."""
    count = 0

    def loss(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        nonlocal count
        count += 1
        if count == step:
            raise KilledError
        return cross_entropy(logits, batch)

    return loss


KEPT = FitSettings(NUM_STEPS, batch_size=8, learning_rate=1e-3, checkpoint_every=4)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("spos", {}),
        ("fair", {}),
        ("fair", {"fair_update": "accumulated"}),
        ("sandwich", {}),
        ("magic-t", {"replaced_positions": 2}),
        ("magic-at", {}),
    ],
)
def test_killed_and_resumed_equals_never_killed(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path, name: str, extra: dict[str, Any]
) -> None:
    whole, anchor = train(space, random_split, name, tmp_path / "whole", **extra)
    losses_a_step = make_strategy(new_supernet(space), random_split, name, **extra).children_per_update
    killed = killed_at(9 * losses_a_step + 1)
    with pytest.raises(KilledError):
        train(space, random_split, name, tmp_path / "cut", settings=KEPT, task_loss=killed, **extra)
    assert (tmp_path / "cut" / CHECKPOINT_NAME).is_file()
    resumed, resumed_anchor = train(space, random_split, name, tmp_path / "cut", settings=KEPT, **extra)
    assert same_weights(whole, resumed)
    if anchor is not None and resumed_anchor is not None:
        assert (anchor.child, anchor.num_replacements) == (
            resumed_anchor.child,
            resumed_anchor.num_replacements,
        )
    steps = [point["step"] for point in read_curve(tmp_path / "cut")]
    assert steps == [point["step"] for point in read_curve(tmp_path / "whole")]


def test_a_resumed_training_does_only_what_is_left(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    with pytest.raises(KilledError):
        train(space, random_split, "spos", tmp_path, settings=KEPT, task_loss=killed_at(10))
    # Eight of twelve steps lie in the checkpoint: the fifth of the rest never comes.
    train(space, random_split, "spos", tmp_path, settings=KEPT, task_loss=killed_at(5))
    assert train(space, random_split, "spos", tmp_path, settings=KEPT, task_loss=killed_at(1))


def test_a_torn_or_foreign_checkpoint_is_told(
    space: SearchSpace, random_split: TokenizedSplit, tmp_path: Path
) -> None:
    train(space, random_split, "spos", tmp_path, settings=KEPT)
    smaller = SearchSpace.uniform(space.dimensions, 2, OPERATORS)
    with pytest.raises(RunFolderError, match="no checkpoint of this training"):
        train(smaller, random_split, "spos", tmp_path, settings=KEPT)
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=r"checkpoint\.safetensors.*delete it"):
        train(space, random_split, "spos", tmp_path, settings=KEPT)
