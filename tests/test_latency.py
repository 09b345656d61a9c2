"""Laws of the latency table: its chains tell every operator, predictions do not depend on the order of
operators, and it is measured once."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_spaces import DIMENSIONS, NAMES, make_space, names_of_a_space
from onnx import TensorProto, helper, numpy_helper

from bertcompress.errors import BudgetError
from bertcompress.latency import (
    LatencyStore,
    LatencyTable,
    TableSettings,
    build_latency_table,
    measure_architectures_ms,
)
from bertcompress.latency.chains import (
    counts_matrix,
    fitting_chains,
    heldout_chains,
    space_operators,
    space_terms,
    terms_of,
)
from bertcompress.latency.coefficients import Streaming
from bertcompress.latency.table import prediction_error, repeat_noise_percent
from bertcompress.measure import Conditions, best_clock
from bertcompress.space import Architecture, Operator, SearchSpace, canonical


def export_chain(architecture: Architecture, path, conditions: Conditions) -> None:
    """A served network in miniature: a Gather of ids and one MatMul an operator."""
    width, rng = 64, np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(
            rng.random((architecture.dimensions.vocab_size, width), dtype=np.float32), "embeddings"
        ),
        numpy_helper.from_array(np.eye(width, dtype=np.float32), "operator"),
    ]
    nodes = [helper.make_node("Gather", ["embeddings", "input_ids"], ["x0"])]
    nodes += [
        helper.make_node("MatMul", [f"x{i}", "operator"], [f"x{i + 1}"])
        for i in range(len(architecture.operators))
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    out = helper.make_tensor_value_info(
        f"x{len(architecture.operators)}", TensorProto.FLOAT, ["batch", "sequence", width]
    )
    graph = helper.make_graph(nodes, "chain", [ids], [out], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


def a_table(**coefficients_ms: float) -> LatencyTable:
    return LatencyTable(Conditions(), "a machine", "wall", 0.5, coefficients_ms, 8, 2, 1.0, 1.0)


def test_one_token_is_read_from_the_last_operator_on_that_mixes_them():
    names = ["ffn16", "mha1", "ffn32", "conv3", "ffn16"]
    chain = [Operator.parse(name) for name in names]
    assert [term.name for term in terms_of(chain, "mean")] == names
    alone = [*names[:3], "conv3 (first token)", "ffn16 (first token)"]
    assert [term.name for term in terms_of(chain, "cls")] == alone
    assert [term.first_token for term in terms_of(chain[::2], "cls")] == [True, True, True]


@given(names=names_of_a_space, num_positions=st.integers(1, 24), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_chains_tell_every_operator_and_span_all_lengths(names, num_positions, seed):
    space = make_space(num_positions, names)
    operators = space_operators(space)
    chains = fitting_chains(space, 12, random.Random(seed))
    if not operators:
        assert set(chains) == {()}
        return
    lengths = sorted(len(chain) for chain in chains)
    assert lengths[0] == 1
    assert lengths[-1] == max(2, num_positions)
    # In units of each chain's length, as the clock's error goes.
    counts = counts_matrix(chains, space_terms(space), "mean")
    assert np.linalg.cond(counts / counts.sum(axis=1, keepdims=True)) < 20


@given(num_positions=st.integers(1, 6), forced=st.integers(0, 6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_heldout_chains_are_of_every_length_of_the_space(num_positions, forced, seed):
    """Positions without identity are in every child."""
    must = tuple(map(Operator.parse, ("mha1", "mha2", "ffn16", "conv3")))
    may = (*must, Operator("identity"))
    choices = tuple(must if position < forced else may for position in range(num_positions))
    space, shortest = SearchSpace(DIMENSIONS, choices), max(1, min(forced, num_positions))
    heldout = heldout_chains(space, 2 * num_positions, random.Random(seed), known=())
    # Four operators and more give every length as many children as are asked of it.
    assert sorted({len(chain) for chain in heldout}) == list(range(shortest, num_positions + 1))
    assert len(set(heldout)) == len(heldout) <= 2 * num_positions


def test_more_operators_ask_for_more_chains():
    assert len(fitting_chains(make_space(), 3, random.Random(0))) > len(NAMES)


def test_heldout_chains_are_children_that_were_not_fitted():
    space = make_space(2)
    fitted = fitting_chains(space, 16, random.Random(0))
    heldout = heldout_chains(space, 8, random.Random(0), known=fitted)
    assert len(heldout) == len(set(heldout)) == 8
    assert not set(heldout) & set(fitted)
    assert heldout_chains(make_space(1, ["conv3"]), 4, random.Random(0), known=fitted) in (
        [],
        [(Operator("conv", 3),)],
    )


@given(child=st.lists(st.sampled_from(NAMES[:2] + NAMES[-1:]), max_size=9), seed=st.integers(0, 9))
def test_prediction_ignores_order_and_identity(child, seed):
    table = a_table(mha1=0.1, mha2=0.7)
    operators = [Operator.parse(name) for name in child]
    shuffled = random.Random(seed).sample(operators, len(operators))
    assert table.predict_ms(operators) == table.predict_ms(shuffled) == table.predict_ms(canonical(operators))
    assert table.predict_ms(Architecture(DIMENSIONS, tuple(operators))) == table.predict_ms(operators)


def test_an_operator_without_cost_is_named():
    with pytest.raises(BudgetError, match="no cost for conv3; it holds mha1"):
        a_table(mha1=0.1).predict_ms([Operator("conv", 3)])


def test_table_survives_json_and_store(tmp_path):
    store = LatencyStore(tmp_path)
    for index, streaming in enumerate((None, Streaming(2e6, 0.1, {"mha1": 1088}))):
        table = replace(a_table(mha1=0.1), streaming=streaming)
        assert LatencyTable.from_dict(store.put({"a": index}, table.to_dict())) == table


def test_an_operator_whose_weights_no_cache_holds_costs_more():
    table = replace(a_table(mha1=0.1), streaming=Streaming(2.5e6, 0.2, {"mha1": 1_000_000}))
    chains = [(Operator("mha", 1),) * number for number in (0, 2, 3, 5)]
    assert [table.predict_ms(chain) for chain in chains] == pytest.approx([0.5, 0.7, 0.9, 1.5])


def test_errors_of_predictions():
    assert prediction_error([1.1, 2.2, 3.3], [1.0, 2.0, 3.0]) == (pytest.approx(10.0), pytest.approx(1.0))
    assert prediction_error([1.1], [1.0]) == (pytest.approx(10.0), None)
    assert prediction_error([1.0, 1.0], [1.0, 1.0]) == (0.0, None)
    assert prediction_error([], []) == (None, None)


def test_noise_is_how_far_two_measurements_are_from_their_mean():
    assert repeat_noise_percent([], []) is None
    assert repeat_noise_percent([1.0, 2.0, 3.0], [1.1, 2.2, 3.3]) == pytest.approx(0.0)
    first, second = [1.0, 1.0, 1.0], [1.0, 1.02, 0.98]
    assert repeat_noise_percent(first, second) == pytest.approx(100 * (0.02 / 2.02 + 0.02 / 1.98) / 3)


def test_a_table_is_measured_once(tmp_path):
    space, conditions, exported, progress = make_space(3), Conditions(sequence_length=8), [], []

    def counted_export(architecture, path, conditions):
        exported.append(architecture)
        export_chain(architecture, path, conditions)

    def build(**changes):
        options = {"num_chains": 4, "num_heldout": 2, "seconds_each": 0.001, "clock": "thread", **changes}
        return build_latency_table(
            space,
            conditions,
            counted_export,
            rng=random.Random(0),
            store=LatencyStore(tmp_path),
            on_progress=lambda done, total: progress.append((done, total)),
            settings=TableSettings(**options),
        )

    table = build()
    number = len(exported)
    assert number == table.num_chains + table.num_heldout
    assert progress[-1] == (number, number)
    assert set(table.coefficients_ms) == set(NAMES) - {"identity"}
    assert table.clock == "thread"
    assert table.noise_percent >= 0
    assert max(a.dimensions.vocab_size for a in exported) <= 1000
    assert build() == table
    assert len(exported) == number
    build(num_heldout=1)
    assert len(exported) > number


def test_measured_latencies_are_positive_and_in_order():
    chains = [(), (Operator("conv", 3),) * 3]
    architectures = [Architecture(DIMENSIONS, chain) for chain in chains]
    measured = measure_architectures_ms(architectures, Conditions(), export_chain, seconds_each=0.001)
    assert len(measured) == 2
    assert min(measured) > 0


def test_the_clock_is_the_threads_own_only_where_it_sees_all_work():
    assert best_clock(Conditions(num_threads=1)) == "thread"
    assert best_clock(Conditions(num_threads=2)) == "wall"
    assert best_clock(Conditions(provider="cuda")) == "wall"
