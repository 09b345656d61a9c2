"""Laws of the clock, checked on a clock that the contenders themselves move."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bertcompress.errors import BudgetError, MissingExtraError
from bertcompress.measure import (
    CALLS_PER_TURN,
    MIN_REPEATS,
    MIN_SAMPLES_BEYOND,
    NUM_WARM_UP_CALLS,
    Conditions,
    check_provider,
    machine_key,
    measure_interleaved,
    random_feed,
    repeats_needed,
    session,
    summarize,
    timed_call,
)


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
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.INT64, ["batch", "sequence"])
    node = helper.make_node("Add", ["input_ids", "attention_mask"], ["logits"])
    model = helper.make_model(
        helper.make_graph([node], "sum", inputs, [output]), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 9
    path = tmp_path / "sum.onnx"
    onnx.save(model, path)
    return path


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


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_contenders_take_turns_and_are_told_apart(first_seconds, second_seconds):
    clock = FakeClock()
    contenders = {"a": clock.contender("a", first_seconds), "b": clock.contender("b", second_seconds)}
    result = measure_interleaved(contenders, min_seconds=1, max_seconds=2, percentiles=(50,), clock=clock)
    assert result["a"].p50_ms == pytest.approx(first_seconds * 1000)
    assert result["b"].p50_ms == pytest.approx(second_seconds * 1000)
    assert result["a"].repeats == result["b"].repeats >= MIN_REPEATS
    calls = "".join(clock.calls[2 * NUM_WARM_UP_CALLS :])
    first, second = ("ab", "ba")
    turn = CALLS_PER_TURN + 1
    rounds = [calls[i : i + 2 * turn] for i in range(0, len(calls), 2 * turn)]
    expected = ["".join(name * turn for name in order) for order in (first, second)]
    assert rounds == [expected[i % 2] for i in range(len(rounds))]


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


def test_no_contender_gives_no_summary():
    assert measure_interleaved({}, min_seconds=1, max_seconds=2) == {}


def test_spread_timings_are_called_noisy():
    assert summarize([0.010] * 10 + [0.020] * 10).noisy
    assert not summarize([0.010] * 20).noisy
    assert summarize([0.010] * 20).to_dict()["noisy"] is False


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
