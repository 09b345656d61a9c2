"""Wherever children are scored, each is scored once, and the loss of a worker loses no result."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.errors import MissingExtraError, SearchError
from bertcompress.search import Budgets, Cost, Evolution, search
from bertcompress.search.evaluators import EVALUATORS
from bertcompress.search.workers import WorkerLostError, worker_pool
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


def run_search(evaluator, make_score: Callable[[], Callable[[Child], float]], **options):
    """A small evolution; `evaluator` is a word of EVALUATORS, or what such a word stands for."""
    with EVALUATORS.get(evaluator, evaluator)(make_score, 2) as score_many:
        return search(
            SPACE,
            Evolution(SPACE, SPACE.sample, 6),
            score_many=score_many,
            cost_of=lambda child: Cost.of(num_parameters=1 + sum(operator.size for operator in child)),
            budgets=Budgets.of(num_parameters=60),
            num_evaluations=30,
            rng=random.Random(0),
            ask_size=10,
            **options,
        )


def test_processes_give_the_search_of_one_process_though_a_worker_dies(tmp_path):
    here = run_search("inline", make_toy_score)
    assert run_search("processes", partial(make_dying_score, tmp_path, 1)) == here
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_worker_raises_is_raised_here():
    with (
        EVALUATORS["processes"](make_failing_score, 1) as score_many,
        pytest.raises(FileNotFoundError, match="no weights here"),
    ):
        list(score_many(some_children(3)))


@dataclass(eq=False)
class FakeWorker:
    """Scores at once; is lost at the submissions that `losses` names, in the future or on the spot."""

    losses: dict[int, str]
    counter: list[int] = field(default_factory=lambda: [0])
    is_closed: bool = False

    def submit(self, child: Child) -> Future[float]:
        self.counter[0] += 1
        future: Future[float] = Future()
        loss = self.losses.get(self.counter[0])
        if loss == "at once":
            raise WorkerLostError
        if loss == "later":
            future.set_exception(WorkerLostError())
        else:
            future.set_result(toy_score(child))
        return future

    def close(self) -> None:
        self.is_closed = True


@given(
    num_workers=st.integers(1, 4),
    count=st.integers(1, 20),
    losses=st.dictionaries(st.integers(1, 12), st.sampled_from(["at once", "later"]), max_size=2),
)
@settings(deadline=None)
def test_every_child_is_scored_once_whichever_workers_are_lost(num_workers, count, losses):
    children, counter = some_children(count), [0]
    started: list[FakeWorker] = []

    def start() -> FakeWorker:
        started.append(FakeWorker(losses, counter))
        return started[-1]

    with worker_pool(start, num_workers) as score_many:
        for _ in range(2):
            scored = list(score_many(children))
            assert sorted(scored) == sorted((child, toy_score(child)) for child in children)
    assert all(worker.is_closed for worker in started)


def test_a_child_that_no_worker_survives_ends_the_search():
    lost = dict.fromkeys(range(1, 100), "later")
    with (
        worker_pool(lambda: FakeWorker(lost), 2) as score_many,
        pytest.raises(SearchError, match="4 children were not scored"),
    ):
        list(score_many(some_children(4)))


def test_no_room_for_any_worker_is_an_error():
    with (
        worker_pool(lambda: None, 2) as score_many,
        pytest.raises(SearchError, match="every worker was lost"),
    ):
        list(score_many(some_children(2)))


def test_inline_scores_in_the_order_of_prefixes():
    children = some_children(12)
    with EVALUATORS["inline"](make_toy_score, 1) as score_many:
        order = [child for child, _ in score_many(children)]
    assert order == sorted(children, key=placed_steps)


def test_ray_names_its_extra_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"bertcompress\[ray\]"):
        run_search("ray", make_toy_score)


LAUNCHED = """
import json, sys
from accelerate import PartialState
from test_evaluators import make_toy_score, run_search, toy_score
from bertcompress.training.processes import is_first
from bertcompress.search.launched import assist, lead

state = PartialState(cpu=True)
assert state.num_processes == 2
if is_first():
    result = run_search(lambda make_score, _: lead(make_score), make_toy_score)
    print("RESULT", json.dumps([[str(e.child), e.score] for e in result.evaluations]))
else:
    scored = []
    def make_counted():
        return lambda child: scored.append(child) or toy_score(child)
    assist(make_counted, state.process_index)
    assert len(scored) > 5, scored
state.destroy_process_group()
"""


def test_processes_of_one_launch_search_as_one(tmp_path):
    script = tmp_path / "launched_search.py"
    script.write_text(LAUNCHED)
    # Torch's launcher: accelerate's starts only one process on a CPU.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    searched = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    finished = subprocess.run(
        [*command, str(script)],
        env={**os.environ, "PYTHONPATH": searched, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULT "))
    here = run_search("inline", make_toy_score)
    assert json.loads(line[len("RESULT ") :]) == [[str(e.child), e.score] for e in here.evaluations]


def test_a_cluster_of_two_nodes_loses_nothing_with_a_killed_actor(tmp_path):
    reason = 'Ray is not installed: pip install "bertcompress[ray]"'
    pytest.importorskip("ray", reason=reason)
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason=reason)
    import ray

    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        # The actors import this file, too.
        searched = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {"env_vars": {"PYTHONPATH": searched}}
        ray.init(address=cluster.address, log_to_driver=False, runtime_env=environment)
        here = run_search("inline", make_toy_score)
        assert run_search("ray", partial(make_dying_score, tmp_path, 2)) == here
        assert len(list(tmp_path.iterdir())) == 2
    finally:
        ray.shutdown()
        cluster.shutdown()
