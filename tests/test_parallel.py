"""Independent jobs: each is done, whoever does it, and whatever is lost on the way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.errors import DataError, JobError, LaunchError, MissingExtraError
from bertcompress.training.parallel import THREAD_VARIABLES, open_workers, run_jobs


def square(job: int) -> int:
    return job * job


def fail_at_three(job: int) -> int:
    if job == 3:
        raise ZeroDivisionError("planted")
    return job * job


def refuse(job: int) -> int:
    raise DataError(f"row {job}: no text")


class Marking:
    """Squares, and leaves in a folder a line for each job begun; kills its worker at job 2 so many times."""

    def __init__(self, folder: Path, *, deaths: int = 0) -> None:
        self.folder, self.deaths, self.num_done_here = folder, deaths, 0

    def __call__(self, job: int) -> tuple[int, int, int]:
        """The square, the process, and how many jobs it has done."""
        with (self.folder / f"{job}.begun").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if job == 2 and self.begun(2) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        self.num_done_here += 1
        return job * job, os.getpid(), self.num_done_here

    def begun(self, job: int) -> int:
        path = self.folder / f"{job}.begun"
        return len(path.read_text().splitlines()) if path.exists() else 0


class FailsBeforeOthers:
    """Fails at job 3; the other jobs end only after that, and give its failure time to be told."""

    def __init__(self, folder: Path) -> None:
        self.marker = folder / "fails"

    def __call__(self, job: int) -> int:
        if job == 3:
            self.marker.touch()
            raise ZeroDivisionError("planted")
        while not self.marker.exists():
            time.sleep(0.01)
        time.sleep(0.5)
        return job


def surroundings(job: int) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in (*THREAD_VARIABLES, "CUDA_VISIBLE_DEVICES")}


@pytest.fixture(scope="module")
def ray_of_two() -> Iterator[None]:
    """A Ray of this machine with two CPUs, which the jobs of this module join."""
    with pytest.MonkeyPatch.context() as patch:
        # The workers import this file, too.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.delenv("RAY_ADDRESS", raising=False)
        with open_workers(square, workers=2):
            yield


def drain(results: Iterable[tuple[int, Any]], jobs: list[int]) -> None:
    """Append each job that ends to `jobs`, until the results end or fail."""
    for job, _ in results:
        jobs.append(job)


@given(jobs=st.lists(st.integers(-9, 9), max_size=12))
def test_one_worker_does_every_job_here_in_order(jobs: list[int]) -> None:
    assert list(run_jobs(square, jobs, workers=1)) == [(job, job * job) for job in jobs]


def test_one_worker_begins_a_job_when_its_result_is_asked_for(tmp_path: Path) -> None:
    marking = Marking(tmp_path)
    results = run_jobs(marking, iter(range(5)), workers=1)
    next(results)
    next(results)
    assert [marking.begun(job) for job in range(5)] == [1, 1, 0, 0, 0]


def test_a_job_that_fails_is_named_and_the_results_before_it_are_kept() -> None:
    results, done = run_jobs(fail_at_three, [1, 2, 3, 4], workers=1, name_of="job {}".format), []
    with pytest.raises(JobError, match=r"(?s)job 3: failed.*fail_at_three.*planted") as caught:
        drain(results, done)
    assert done == [1, 2]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_of_ours_is_told_without_a_traceback() -> None:
    with pytest.raises(JobError) as caught:
        list(run_jobs(refuse, [7], workers=1, name_of="job {}".format))
    assert str(caught.value) == "job 7: row 7: no text"


def test_several_workers_name_the_extra_where_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"2 workers need Ray: .*bertcompress\[ray\]"):
        list(run_jobs(square, [1], workers=2))


def test_workers_do_every_job_though_one_is_killed(ray_of_two: None, tmp_path: Path) -> None:
    marking = Marking(tmp_path, deaths=2)
    found = dict(run_jobs(marking, range(8), workers=2))
    assert {job: square for job, (square, _, _) in found.items()} == {job: job * job for job in range(8)}
    assert os.getpid() not in {process for _, process, _ in found.values()}
    assert [marking.begun(job) for job in range(8)] == [1, 1, 3, 1, 1, 1, 1, 1]


def test_a_job_that_no_worker_survives_is_named(ray_of_two: None, tmp_path: Path) -> None:
    marking, done = Marking(tmp_path, deaths=99), []
    with pytest.raises(JobError, match=r"job 2: its worker was lost 3 times"):
        drain(run_jobs(marking, range(3), workers=2, name_of="job {}".format), done)
    assert sorted(done) == [0, 1]
    assert marking.begun(2) == 3


def test_no_job_begins_after_one_that_fails_and_those_under_way_are_kept(
    ray_of_two: None, tmp_path: Path
) -> None:
    results, done = run_jobs(FailsBeforeOthers(tmp_path), [3, 1, *range(10, 40)], workers=2), []
    with pytest.raises(JobError, match=r"(?s)^3: failed.*planted") as caught:
        drain(results, done)
    assert 1 in done
    assert len(done) < 20
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_open_workers_keep_what_their_function_has_loaded(ray_of_two: None, tmp_path: Path) -> None:
    with open_workers(Marking(tmp_path), workers=2) as run:
        found = [made for jobs in (range(4), range(4, 8)) for _, made in run(jobs)]
    by_process = {process: [] for _, process, _ in found}
    for _, process, num_done in found:
        by_process[process].append(num_done)
    assert all(sorted(counts) == list(range(1, len(counts) + 1)) for counts in by_process.values())
    assert len(by_process) <= 2


def test_a_worker_has_its_threads_and_the_machines_gpus(ray_of_two: None) -> None:
    ((_, found),) = run_jobs(surroundings, [0], workers=2, threads=2)
    assert {found[name] for name in THREAD_VARIABLES} == {"2"}
    assert found["CUDA_VISIBLE_DEVICES"] == os.environ.get("CUDA_VISIBLE_DEVICES")


def test_more_threads_than_any_machine_has_are_refused(ray_of_two: None) -> None:
    with pytest.raises(
        LaunchError, match="a job needs 64 CPUs, but no machine of the cluster has more than 2"
    ):
        list(run_jobs(square, [1], workers=2, threads=64))
