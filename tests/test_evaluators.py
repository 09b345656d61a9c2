"""Wherever children are scored, each is scored once, and the loss of a worker loses no result."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.errors import JobError, MissingExtraError
from bertcompress.search import Budgets, Cost, Evolution, search
from bertcompress.search.evaluators import cut_stretches, open_scoring
from bertcompress.space import Child, Dimensions, Operator, SearchSpace, placed_steps

NAMES = ["mha1", "ffn16", "conv3", "conv5", "identity"]
SPACE = SearchSpace.uniform(Dimensions(11, 16, 16, 8, 2, "cls"), 4, NAMES)


def toy_score(child: Child) -> float:
    return sum((position + 1) * operator.size for position, operator in enumerate(child)) / 7


def make_toy_score() -> Callable[[Child], float]:
    return toy_score


def make_dying_score(folder: Path, deaths: int) -> Callable[[Child], float]:
    """The toy score, but whoever gets a child that starts with conv5 kills itself, `deaths` times in all."""

    def score(child: Child) -> float:
        if child[0] == Operator("conv", 5):
            for number in range(deaths):
                try:
                    (folder / str(number)).touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return toy_score(child)

    return score


def make_failing_score() -> Callable[[Child], float]:
    raise FileNotFoundError("no weights here")


def some_children(count: int) -> list[Child]:
    """Different children in no order, one of which starts with conv5."""
    rng = random.Random(0)
    children = dict.fromkeys([(Operator("conv", 5),) * 4])
    while len(children) < count:
        children.setdefault(SPACE.sample(rng))
    return sorted(children, key=lambda child: rng.random())


def run_search(num_workers: int, make_score: Callable[[], Callable[[Child], float]]):
    """A small evolution."""
    with open_scoring(make_score, num_workers) as score_many:
        return search(
            SPACE,
            Evolution(SPACE, SPACE.sample, 6),
            score_many=score_many,
            cost_of=lambda child: Cost.of(num_parameters=1 + sum(operator.size for operator in child)),
            budgets=Budgets.of(num_parameters=60),
            num_evaluations=30,
            rng=random.Random(0),
            ask_size=10,
        )


@given(count=st.integers(1, 20), num_stretches=st.integers(1, 8))
@settings(deadline=None)
def test_stretches_hold_every_child_once_in_the_order_of_prefixes(count: int, num_stretches: int):
    children = some_children(count)
    stretches = cut_stretches(children, num_stretches)
    assert [child for stretch in stretches for child in stretch] == sorted(children, key=placed_steps)
    assert len(stretches) == min(count, num_stretches)
    sizes = list(map(len, stretches))
    assert max(sizes) - min(sizes) <= 1


def test_inline_scores_in_the_order_of_prefixes():
    children = some_children(12)
    with open_scoring(make_toy_score, 1) as score_many:
        order = [child for child, _ in score_many(children)]
    assert order == sorted(children, key=placed_steps)


def test_ray_names_its_extra_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"bertcompress\[ray\]"):
        run_search(2, make_toy_score)


def test_a_cluster_of_two_nodes_loses_nothing_with_a_killed_worker(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    # The workers import this file, too.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": {"worker_niceness": 0}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        here = run_search(1, make_toy_score)
        assert run_search(2, partial(make_dying_score, tmp_path, 2)) == here
        assert len(list(tmp_path.iterdir())) == 2
        with (
            open_scoring(make_failing_score, 2) as score_many,
            pytest.raises(JobError, match=r"(?s)search: scoring conv5-conv5.*no weights here"),
        ):
            list(score_many(some_children(1)))
    finally:
        cluster.shutdown()
