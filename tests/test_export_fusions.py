"""The fusions of a graph are chosen by a clock, change no logit, and are all found by the audit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from small_models import CHAIN, compact_model

from bertcompress.errors import ExportError
from bertcompress.export.attention import branch_attention
from bertcompress.export.audit import audit
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import CANDIDATES, optimize, timer
from bertcompress.export.packing import pack_projections
from bertcompress.export.verify import compare, graph_logits, reference_of, verify
from bertcompress.export.weights import check_weights
from bertcompress.export.write import choose_fusions, write_precisions
from bertcompress.measure import Conditions


def node_types(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("fastest", list(CANDIDATES))
def test_the_fusions_that_are_fastest_are_chosen(
    converted_graph: Path, tmp_path: Path, fastest: str, precision: str
) -> None:
    def clock(files: Mapping[str, Path]) -> dict[str, float]:
        for path in files.values():
            audit(path, model.architecture, precision=precision)
        return {name: 1.0 if name == fastest else 2.0 for name in files}

    model = compact_model()
    choice = choose_fusions(converted_graph, clock, precision)
    assert choice.to_dict() == {**CANDIDATES[fastest].to_dict(), "measured_ms": choice.measured_ms}
    assert choice.measured_ms == {name: 1.0 if name == fastest else 2.0 for name in CANDIDATES}
    path = tmp_path / "out.onnx"
    write_precisions(converted_graph, {precision: path}, choice)
    assert ("SkipLayerNormalization" in node_types(path)) is choice.fuse_skip_layer_norm
    assert ("If" in node_types(path)) is choice.branch_attention
    assert ("Split" in node_types(path)) is choice.pack_projections
    error = compare(path, reference_of(model), precision=precision).max_logit_error
    assert error < {"fp32": 1e-5, "int8": 0.2}[precision]
    audit(path, model.architecture, precision=precision)


def test_candidates_are_all_different_and_the_first_has_nothing() -> None:
    choices = [(c.fuse_skip_layer_norm, c.branch_attention, c.pack_projections) for c in CANDIDATES.values()]
    assert len(set(choices)) == len(choices) == 8
    assert choices[0] == (False, False, False)


def test_a_tie_leaves_the_simplest_file(converted_graph: Path) -> None:
    choice = choose_fusions(converted_graph, lambda files: dict.fromkeys(files, 1.0))
    assert choice.to_dict() == {**CANDIDATES["plain"].to_dict(), "measured_ms": choice.measured_ms}


def test_packed_projections_give_the_same_logits(optimized_graph: Path, tmp_path: Path) -> None:
    packed = pack_projections(shutil.copy(optimized_graph, tmp_path / "packed.onnx"))
    types, before = node_types(packed), node_types(optimized_graph)
    assert types.count("MatMul") == before.count("MatMul") - 2 * 2
    assert types.count("Split") == types.count("MultiHeadAttention") == 2
    model = compact_model()
    assert verify(packed, model).max_logit_error < 1e-5
    assert len(check_weights(packed, model).matched) == len(check_weights(optimized_graph, model).matched)


def test_projections_without_a_bias_are_packed(tmp_path: Path) -> None:
    model = compact_model(("mha2",))
    with torch.no_grad():
        model.chain[0].key.bias.zero_()
    path = optimize(export_onnx(model, tmp_path / "converted.onnx"), tmp_path / "packed.onnx")
    pack_projections(path)
    assert verify(path, model).max_logit_error < 1e-5
    check_weights(path, model)


def test_packing_weights_in_a_second_file_leaves_none_behind(optimized_graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    stored = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 0}
    onnx.save(onnx.load(optimized_graph), path, **stored)
    pack_projections(path)
    assert not path.with_name("model.onnx.data").exists()
    assert verify(path, compact_model()).max_logit_error < 1e-5


@pytest.mark.parametrize("input_index", [0, 1, 2])
def test_projections_that_are_no_dense_layers_are_not_packed(
    optimized_graph: Path, tmp_path: Path, input_index: int
) -> None:
    graph = onnx.load(optimized_graph)
    attention = next(node for node in graph.graph.node if node.op_type == "MultiHeadAttention")
    attention.input[input_index] = "input_ids"
    path = tmp_path / "other.onnx"
    onnx.save(graph, path)
    before = path.read_bytes()
    with pytest.raises(ExportError, match="are no dense layers"):
        pack_projections(path)
    assert path.read_bytes() == before


def test_the_last_attention_asks_for_the_first_token_only_and_is_not_packed(tmp_path: Path) -> None:
    model = compact_model(("mha2", "ffn16", "mha2", "ffn24"), pooling="cls")
    path = optimize(export_onnx(model, tmp_path / "converted.onnx"), tmp_path / "fused.onnx")
    packed = pack_projections(shutil.copy(path, tmp_path / "packed.onnx"))
    assert node_types(packed).count("MatMul") == node_types(path).count("MatMul") - 2
    assert verify(packed, model).max_logit_error < 1e-5
    audit(packed, model.architecture)
    # What comes after is computed for one token of seven.
    graph = onnx.load(path)
    gelus = [node.output[0] for node in graph.graph.node if node.op_type == "BiasGelu"]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in gelus)
    ids = np.ones((3, 7), dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": ids, "token_type_ids": 0 * ids}
    found = InferenceSession(graph.SerializeToString()).run(gelus, feed)
    assert [each.shape for each in found] == [(3, 7, 16), (3, 1, 24)]


def test_both_branches_of_attention_agree_where_nothing_is_padded(
    optimized_graph: Path, tmp_path: Path
) -> None:
    branched = branch_attention(shutil.copy(optimized_graph, tmp_path / "branched.onnx"))
    ids = torch.randint(1, 97, (3, 9), generator=torch.Generator().manual_seed(0))
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected = graph_logits(optimized_graph, [whole])
    np.testing.assert_allclose(graph_logits(branched, [whole]), expected, atol=1e-5)
    assert verify(branched, compact_model()).max_logit_error < 1e-5
    assert node_types(branched).count("If") == 2
    assert "MultiHeadAttention" not in node_types(branched)


def test_a_graph_without_attention_stays_as_it_is(tmp_path: Path) -> None:
    path = optimize(export_onnx(compact_model(("conv3",)), tmp_path / "a.onnx"), tmp_path / "b.onnx")
    before = path.read_bytes()
    assert branch_attention(path).read_bytes() == before
    assert pack_projections(path).read_bytes() == before


def test_the_timer_times_every_file(optimized_graph: Path, quantized_graph: Path) -> None:
    files = {"fp32": optimized_graph, "int8": quantized_graph}
    times = timer(Conditions(sequence_length=8), vocab_size=97, seconds=0.02)(files)
    assert set(times) == set(files)
    assert min(times.values()) > 0


def test_audit_wants_attention_in_both_branches(optimized_graph: Path, tmp_path: Path) -> None:
    path = branch_attention(shutil.copy(optimized_graph, tmp_path / "branched.onnx"))
    graph = onnx.load(path)
    first = next(node for node in graph.graph.node if node.op_type == "If")
    branch = next(attribute.g for attribute in first.attribute if attribute.name == "then_branch")
    branch.node[0].op_type = "Identity"
    onnx.save(graph, path)
    with pytest.raises(ExportError, match="position 0: mha2 has no MultiHeadAttention"):
        audit(path, compact_model().architecture)


def test_audit_finds_every_operator(optimized_graph: Path, quantized_graph: Path) -> None:
    architecture = compact_model().architecture
    for path, precision, gelu, dense in (
        (optimized_graph, "fp32", "BiasGelu", "MatMul"),
        (quantized_graph, "int8", "Gelu", "DynamicQuantizeMatMul or MatMulIntegerToFloat"),
    ):
        counts = audit(path, architecture, precision=precision)
        assert counts["expected"] == {"MultiHeadAttention": 2, gelu: 1, "Conv": 2, dense: 12}
        assert all(counts["found"][name] >= number for name, number in counts["expected"].items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((*CHAIN, "mha4"), r"position 5: mha4 has no MultiHeadAttention"),
        (
            ("mha2", "conv3", "ffn64", "mha4", "conv5"),
            r"2: ffn64 has no BiasGelu \(found ffn48 there\)",
        ),
        (CHAIN[:4], r"before position 4: found conv5"),
    ],
)
def test_audit_names_the_position(optimized_graph: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        audit(optimized_graph, compact_model(names).architecture)
