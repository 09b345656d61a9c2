"""Laws of the clock, checked on a clock that the contenders themselves move."""

from __future__ import annotations

import itertools
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_sum import write_mask_sum

from bertcompress.errors import BudgetError, ExportError, MissingExtraError
from bertcompress.measure import (
    Conditions,
    check_provider,
    machine_key,
    measure_files,
    measure_interleaved,
    pinned,
    random_feed,
    ratio,
    repeats_needed,
    round_order,
    session,
    summarize,
    timed_call,
)
from bertcompress.measure.callers import call_concurrently, measure_throughput
from bertcompress.measure.clock import (
    MAX_CALLS_PER_TURN,
    MAX_WARM_UP_WINDOWS,
    MAX_WARMING_CALLS,
    MIN_CALLS_PER_TURN,
    MIN_REPEATS,
    MIN_SAMPLES_BEYOND,
    SECONDS_BETWEEN,
    SECONDS_PER_TURN,
    WARM_UP_WINDOW,
    WARMING_SECONDS,
    calls_within,
    clock_overhead,
    median_interval,
    time_interleaved,
    warm_up,
)
from bertcompress.measure.cold_start import measure_cold_start


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, seconds: float):
        def call() -> None:
            self.calls.append(name)
            self.now += seconds

        return call


@pytest.fixture
def mask_sum_path(tmp_path):
    """A graph of one node: the sum of input_ids and attention_mask."""
    return write_mask_sum(tmp_path / "sum.onnx")


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=700))
def test_no_percentile_without_samples_beyond_it(seconds):
    summary = summarize(seconds)
    for percentile, value in ((95, summary.p95_ms), (99, summary.p99_ms)):
        # In whole numbers, so that the law is exact.
        supported = len(seconds) * (100 - percentile) >= MIN_SAMPLES_BEYOND * 100
        assert (value is not None) == supported
    assert min(seconds) * 1000 * (1 - 1e-9) <= summary.p50_ms <= max(seconds) * 1000 * (1 + 1e-9)


def test_repeats_needed():
    assert [repeats_needed(percentile) for percentile in (50, 95, 99)] == [10, 100, 500]


# Binary fractions, which a clock adds up without rounding.
FRACTIONS = st.integers(1, 512).map(lambda number: number / 1024)


@given(FRACTIONS, FRACTIONS)
def test_contenders_take_turns_and_are_told_apart(first_seconds, second_seconds):
    clock = FakeClock()
    contenders = {"a": clock.contender("a", first_seconds), "b": clock.contender("b", second_seconds)}
    result = measure_interleaved(contenders, min_seconds=1, max_seconds=2, percentiles=(50,), clock=clock)
    assert result["a"].p50_ms == pytest.approx(first_seconds * 1000)
    assert result["b"].p50_ms == pytest.approx(second_seconds * 1000)
    assert result["a"].repeats == result["b"].repeats >= MIN_REPEATS
    # A contender that takes the same time every time has settled after two windows; one call says which.
    calls = "".join(clock.calls[2 * (2 * WARM_UP_WINDOW + 1) :])
    timed = max(2, calls_within(SECONDS_PER_TURN, max(first_seconds, second_seconds), MAX_CALLS_PER_TURN))
    turns = [
        name * (timed + calls_within(WARMING_SECONDS, seconds, MAX_WARMING_CALLS))
        for name, seconds in (("a", first_seconds), ("b", second_seconds))
    ]
    number = result["a"].repeats // timed
    assert calls == "".join(turns[place] for index in range(number) for place in round_order(2, index))


@given(
    seconds=st.floats(0.001, 1), call_seconds=st.floats(0, 1, allow_subnormal=False), most=st.integers(1, 20)
)
def test_as_many_calls_as_fit(seconds: float, call_seconds: float, most: int) -> None:
    number = calls_within(seconds, call_seconds, most)
    assert 1 <= number <= most
    assert number == 1 or number * call_seconds <= seconds * (1 + 1e-9)
    assert number == most or (number + 1) * call_seconds > seconds * (1 - 1e-9)


def test_a_small_network_beside_a_large_one_is_timed_in_a_warm_cache() -> None:
    clock, cold = FakeClock(), {"left": 0}

    def small() -> None:
        cold["left"] = max(0, cold["left"] - 1)
        clock.now += 0.0003 + 0.0001 * cold["left"]

    def large() -> None:
        cold["left"] = 8
        clock.now += 0.005

    contenders = {"small": small, "large": large}
    result = measure_interleaved(contenders, min_seconds=1, max_seconds=1, percentiles=(50,), clock=clock)
    assert result["small"].p50_ms == pytest.approx(0.3)
    assert result["large"].p50_ms == pytest.approx(5)


def test_contenders_change_places_from_round_to_round():
    orders = [round_order(3, index) for index in range(60)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert orders == [round_order(3, index) for index in range(60)]


def test_goes_on_until_the_highest_percentile_is_supported():
    clock = FakeClock()
    result = measure_interleaved(
        {"a": clock.contender("a", 0.01)}, min_seconds=0.1, max_seconds=60, clock=clock
    )
    assert result["a"].repeats == 500
    assert result["a"].p99_ms == pytest.approx(10)


def test_stops_at_max_seconds_and_then_leaves_the_percentile_out():
    clock = FakeClock()
    result = measure_interleaved({"a": clock.contender("a", 0.1)}, min_seconds=1, max_seconds=2, clock=clock)
    assert MIN_REPEATS <= result["a"].repeats <= 24
    assert result["a"].p95_ms is None
    assert result["a"].p99_ms is None


def test_what_is_done_between_rounds_is_not_timed():
    clock, done = FakeClock(), []

    def between() -> None:
        done.append(len(clock.calls))
        clock.now += 1.0

    contenders = {"a": clock.contender("a", 0.01)}
    turns = time_interleaved(
        contenders, min_seconds=1, max_seconds=2, percentiles=(), clock=clock, between=between
    )
    assert turns["a"] == pytest.approx(np.full_like(turns["a"], 0.01))
    # Before the first round, every quarter of a second that was timed, after the last.
    assert len(done) == 1 + round(turns["a"].sum() / SECONDS_BETWEEN)
    assert done[-1] == len(clock.calls)


def test_no_contender_gives_no_summary():
    assert measure_interleaved({}, min_seconds=1, max_seconds=2) == {}


def test_spread_timings_are_called_noisy():
    assert summarize([0.010] * 10 + [0.020] * 10).noisy
    assert not summarize([0.010] * 20).noisy
    assert summarize([0.010] * 20).to_dict()["noisy"] is False


@given(st.lists(st.floats(0.001, 0.05), min_size=1, max_size=40))
def test_warm_up_ends_when_calls_settle_and_never_later_than_its_limit(seconds):
    clock, times = FakeClock(), itertools.cycle(seconds)

    def call() -> None:
        clock.now += next(times)

    made = warm_up(call, clock)
    assert 2 * WARM_UP_WINDOW <= made <= MAX_WARM_UP_WINDOWS * WARM_UP_WINDOW
    if len(set(seconds)) == 1:
        assert made == 2 * WARM_UP_WINDOW


def test_warm_up_goes_on_while_calls_still_get_faster():
    clock, times = FakeClock(), iter([0.09] * 3 + [0.06] * 3 + [0.03] * 6 + [0.03] * 9)

    def call() -> None:
        clock.now += next(times)

    assert warm_up(call, clock) == 4 * WARM_UP_WINDOW


def test_a_slow_contender_is_not_warmed_up_for_minutes():
    clock = FakeClock()
    assert warm_up(clock.contender("slow", 60.0), clock, max_seconds=10.0) == WARM_UP_WINDOW


@given(overhead=st.floats(1e-7, 1e-3), seconds=st.floats(0.002, 0.5))
def test_the_cost_of_reading_the_clock_is_taken_off(overhead, seconds):
    class SlowClock(FakeClock):
        def __call__(self) -> float:
            self.now += overhead
            return self.now

    clock = SlowClock()
    assert clock_overhead(clock) == pytest.approx(overhead, rel=1e-3)
    result = measure_interleaved(
        {"a": clock.contender("a", seconds)}, min_seconds=0, max_seconds=9, percentiles=(50,), clock=clock
    )
    assert result["a"].p50_ms == pytest.approx(seconds * 1000, rel=1e-6)


@given(values=st.lists(st.floats(0, 1e3), min_size=1, max_size=60))
def test_the_interval_of_a_median_holds_it(values):
    low, high = median_interval(values)
    assert min(values) <= low <= np.median(values) <= high <= max(values)


def test_the_interval_of_a_median_covers_the_truth_nineteen_times_in_twenty():
    generator = np.random.default_rng(0)
    intervals = [median_interval(generator.exponential(size=41)) for _ in range(2000)]
    covered = np.mean([low <= np.log(2) <= high for low, high in intervals])
    assert 0.93 < covered < 0.99


@given(factor=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_a_ratio_cancels_what_slows_both_contenders(factor, seed):
    slowness = np.random.default_rng(seed).uniform(1, 5, (12, 1))
    reference = np.full((12, MIN_CALLS_PER_TURN), 0.01) * slowness
    found = ratio(reference * factor, reference)
    assert (found.low, found.median, found.high) == pytest.approx((factor, factor, factor))


def test_turns_are_rows():
    clock = FakeClock()
    turns = time_interleaved(
        {"a": clock.contender("a", 0.01)}, min_seconds=0.1, max_seconds=1, percentiles=(50,), clock=clock
    )["a"]
    assert turns.shape == (5, MIN_CALLS_PER_TURN)
    summary = summarize(turns)
    assert (summary.p50_low_ms, summary.p50_ms, summary.p50_high_ms) == pytest.approx((10, 10, 10))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot hold a thread to a CPU")
def test_threads_are_held_to_as_many_cpus_and_let_go_again():
    before = os.sched_getaffinity(0)
    with pinned(1) as cpus:
        assert len(cpus) == 1
        assert os.sched_getaffinity(0) == set(cpus)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
        assert seen == [set(cpus)]
    assert os.sched_getaffinity(0) == before
    with pinned(len(before) + 1) as cpus:
        assert cpus == ()


def test_a_summary_says_which_cpus_it_was_held_to(mask_sum_path):
    found = measure_files(
        {"a": mask_sum_path}, Conditions(), vocab_size=7, min_seconds=0, max_seconds=0, percentiles=()
    )["a"]
    assert len(found.cpus) == (1 if hasattr(os, "sched_getaffinity") else 0)
    assert found.to_dict()["cpus"] == list(found.cpus)


def test_a_fresh_process_pays_for_its_parts(mask_sum_path):
    start = measure_cold_start(mask_sum_path, Conditions(sequence_length=8), vocab_size=7, num_processes=1)
    parts = (start.import_ms, start.session_load_ms, start.first_run_ms)
    assert min(parts) > 0
    assert start.cold_start_ms == pytest.approx(sum(parts))
    assert start.peak_memory_mib >= start.model_memory_mib >= 0


def test_a_file_that_a_fresh_process_cannot_load_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"missing\.onnx: a fresh process cannot run it"):
        measure_cold_start(tmp_path / "missing.onnx", Conditions(), vocab_size=7, num_processes=1)


def test_callers_ask_at_the_same_time():
    together = threading.Barrier(3)  # broken unless all three are inside a call at once
    timings, seconds = call_concurrently(lambda: together.wait(timeout=30), 3, seconds=0)
    assert [len(own) for own in timings] == [1, 1, 1]
    assert seconds > 0


def test_an_error_of_a_caller_is_raised():
    def call() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        call_concurrently(call, 2, seconds=0)


def test_throughput_counts_rows(mask_sum_path):
    conditions = Conditions(batch_size=4, sequence_length=8)
    found = measure_throughput(mask_sum_path, conditions, vocab_size=7, num_callers=2, seconds=0.01)
    assert found.rows_per_s == pytest.approx(4 * found.latency.repeats / found.seconds)
    assert found.to_dict()["latency"]["repeats"] == found.latency.repeats


def test_session_runs_the_feed_it_is_given(mask_sum_path):
    conditions = Conditions(batch_size=2, sequence_length=5)
    opened = session(mask_sum_path, num_threads=1)
    feed = random_feed(opened, conditions, vocab_size=7)
    assert set(feed) == {"input_ids", "attention_mask"}
    assert feed["input_ids"].shape == (2, 5)
    assert feed["input_ids"].max() < 7
    np.testing.assert_array_equal(
        timed_call(mask_sum_path, conditions, vocab_size=7)()[0], feed["input_ids"] + 1
    )


def test_providers_are_checked_by_name():
    with pytest.raises(BudgetError, match="use one of cpu, cuda"):
        check_provider("tpu")


def test_missing_provider_names_the_extra(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingExtraError, match=r"bertcompress\[gpu\]"):
        check_provider("cuda")


def test_machine_key_is_stable_and_names_the_runtime():
    assert machine_key() == machine_key()
    assert "onnxruntime" in machine_key()


def test_conditions_read_as_a_sentence():
    assert str(Conditions(8, 128, 2, "int8")) == "batch 8 x 128 tokens, 2 threads, int8, cpu"
