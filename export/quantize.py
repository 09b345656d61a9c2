"""int8: dense layers and embeddings of an optimised graph, activations scaled as they come (dynamically).

Weights are signed and per output channel; convolutions, softmax and the classifier stay in fp32."""

from __future__ import annotations

import logging
import platform
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from bertcompress.export.optimize import (
    MAX_SINGLE_FILE_BYTES,
    SKIP_LAYER_NORM,
    TRANSPOSE_INTO_MATMUL,
    num_bytes,
    save_optimized,
)

OPERATORS = ("MatMul", "Gather")
# Fusions that would undo what the fp32 graph chose, or take a bias back from its dense layer.
KEPT_APART = (SKIP_LAYER_NORM, TRANSPOSE_INTO_MATMUL, "BiasGeluFusion")
# x86 instructions that add products of 8 bits without saturating in between.
_VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})


@dataclass(frozen=True)
class Quantization:
    """How a file was quantized; with `reduce_range` weights keep 7 bits."""

    reduce_range: bool
    per_channel: bool = True
    weight_type: str = "QInt8"
    operators: tuple[str, ...] = OPERATORS

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "operators": list(self.operators)}


def needs_reduced_range(cpuinfo: Path | str = "/proc/cpuinfo") -> bool:
    """Whether this machine would saturate on 8-bit weights: x86 without VNNI, or x86 that does not tell.

    AVX2 adds two products of unsigned by signed 8 bits in 16 bits, which 7-bit weights cannot overflow.
    """
    if platform.machine().lower() not in {"x86_64", "amd64", "i686", "x86"}:
        return False
    try:
        text = Path(cpuinfo).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    flags = {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()}
    return not flags & _VNNI_FLAGS


def quantize_int8(
    path_in: Path | str,
    path_out: Path | str,
    *,
    reduce_range: bool | None = None,
    kept: Collection[str] = (),
) -> Quantization:
    """Write the int8 form of a graph that `optimize` wrote; `reduce_range` None asks the processor.

    Nodes of the names `kept` stay in fp32. Dynamic scales are taken over the whole batch: a row's logits
    depend a little on the rows beside it.
    """
    chosen = Quantization(needs_reduced_range() if reduce_range is None else reduce_range)
    path_in, path_out = Path(path_in), Path(path_out)
    prepared = _beside(path_in)
    with tempfile.TemporaryDirectory() as folder:
        try:
            classifier = _prepare(path_in, prepared)
            quantized = Path(folder) / "quantized.onnx"
            _quantize(prepared, quantized, chosen, [*classifier, *kept])
        finally:
            prepared.unlink(missing_ok=True)
        # The quantizer leaves six nodes a dense layer, which ONNX Runtime makes into one or two.
        save_optimized(quantized, path_out, KEPT_APART)
    return chosen


def quantize_embeddings(path_in: Path | str, path_out: Path | str) -> Path:
    """Write a graph with only its embeddings in int8."""
    path_in, path_out = Path(path_in), Path(path_out)
    prepared = _beside(path_in)
    try:
        model = onnx.load(path_in, load_external_data=False)
        _forget_shapes(model)
        onnx.save(model, prepared)
        _quantize(prepared, path_out, Quantization(False, operators=("Gather",)), [])
    finally:
        prepared.unlink(missing_ok=True)
    return path_out


def _beside(path: Path) -> Path:
    """Return a hidden name next to a file, where its external weights are found."""
    return path.with_name(f".{path.stem}.prepared.onnx")


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Remove the noted shapes: ONNX Runtime 1.22 transposes the weight of a Gemm and leaves the old one."""
    del model.graph.value_info[:]


def _prepare(path_in: Path, path_out: Path) -> list[str]:
    """Write the graph with the biases of BiasGelu set free; gives back the names of what stays in fp32.

    An int8 dense layer adds its bias in the pass that scales its output, so only the gelu remains.
    """
    model = onnx.load(path_in, load_external_data=False)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "BiasGelu":
            nodes.append(node)
            continue
        biased = f"{node.output[0]}_biased"
        nodes.append(helper.make_node("Add", list(node.input), [biased], name=f"{node.name}_bias"))
        gelu = helper.make_node("Gelu", [biased], list(node.output), name=node.name, domain=node.domain)
        nodes.append(gelu)
    _forget_shapes(model)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path_out)
    return head_nodes(nodes)


def head_nodes(nodes: Iterable[NodeProto]) -> list[str]:
    """Names of the head's dense layers, which stay in fp32: of all dense layers they alone are Gemm.

    A quantizer first rewrites a Gemm into a MatMul of another name, which is here too.
    """
    kept = [node.name for node in nodes if node.op_type == "Gemm"]
    return kept + [f"{name}_MatMul" for name in kept]


def _quantize(path_in: Path, path_out: Path, chosen: Quantization, kept: list[str]) -> None:
    logger = logging.getLogger()
    level = logger.level
    # It logs advice to the root logger that has been followed already (pre-processing is `optimize`).
    logger.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            path_in,
            path_out,
            op_types_to_quantize=list(chosen.operators),
            per_channel=chosen.per_channel,
            reduce_range=chosen.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            use_external_data_format=num_bytes(path_in) > MAX_SINGLE_FILE_BYTES,
            # Contrib operators have no shape inference: their outputs are float, which nobody could tell.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logger.setLevel(level)
