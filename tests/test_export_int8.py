"""Dynamic int8: its nodes, its closeness to PyTorch, and the range that the processor can take."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
from small_models import compact_model

from bertcompress.errors import ExportError
from bertcompress.export.audit import audit
from bertcompress.export.quantize import needs_reduced_range
from bertcompress.export.verify import verify


def test_int8_has_one_or_two_nodes_a_dense_layer(quantized_graph: Path) -> None:
    found = Counter(node.op_type for node in onnx.load(quantized_graph).graph.node)
    # Query, key and value share the quantization of their input; every other layer holds its own.
    assert (found["MatMulIntegerToFloat"], found["DynamicQuantizeLinear"]) == (6, 2)
    assert found["DynamicQuantizeMatMul"] == 6
    assert found["BiasGelu"] == 0


def test_audit_says_that_a_graph_was_not_quantized(optimized_graph: Path) -> None:
    with pytest.raises(ExportError, match="MatMulIntegerToFloat: 0 nodes; the chain has 12 dense layers"):
        audit(optimized_graph, compact_model().architecture, precision="int8")


def test_int8_is_smaller_and_close(quantized_graph: Path) -> None:
    result = verify(quantized_graph, compact_model(), precision="int8")
    assert 0 < result.max_logit_error < 0.5
    assert result.agreement > 0.8
    tensors = onnx.load(quantized_graph).graph.initializer
    weights = {tensor.data_type for tensor in tensors if len(tensor.dims) == 2}
    assert onnx.TensorProto.INT8 in weights


@pytest.mark.parametrize(
    ("flags", "reduced"), [("fpu avx2", True), ("avx2 avx512_vnni", False), ("avx2 avx_vnni", False)]
)
def test_reduced_range_follows_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, reduced: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: X\nflags\t\t: {flags}\n", encoding="utf-8")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert needs_reduced_range(cpuinfo) is reduced
    assert needs_reduced_range(tmp_path / "missing") is True
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert needs_reduced_range(cpuinfo) is False
