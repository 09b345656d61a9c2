"""No fault in an exported file passes: each tensor and each node is damaged in turn, and the gate notices.

The gate is what `export_folder` asks of a file: audit, weights, scales, wiring and logits. A mutant
that computes the same function is no fault; `EQUIVALENT` says which those are, and why."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_models import compact_model

from bertcompress.errors import ExportError, VerificationError
from bertcompress.export.audit import audit
from bertcompress.export.calibration import random_calibration
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import FusionChoice
from bertcompress.export.packing import PACKED
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.scales import check_scales
from bertcompress.export.static import Ranges
from bertcompress.export.verify import Reference, compare, reference_of
from bertcompress.export.weights import check_weights
from bertcompress.export.widen import check_wiring
from bertcompress.export.write import write_precisions
from bertcompress.model import CompactBertForSequenceClassification
from bertcompress.space import KINDS, Operator

CHAIN = ("mha2", "conv3", "ffn48", "mha4", "geglu24", "gconv3")
DAMAGED = ("fp32", "int8", "int8_static", "int4_weights")
Mutant = tuple[str, onnx.ModelProto]
DENSE = ("MatMul", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
# Inputs of these may change places.
COMMUTATIVE = {"Add", "Mul", "Max", "Min", "Equal"}
# Mutants that compute the same as the file, by a part of their name, and why they do.
EQUIVALENT = {
    "= -10000.0 scale": "a floor far below what a layer norm gives is a floor wherever it lies",
    "= 1.0 sign": "counts of tokens are one or more, so a floor below that is never met",
    "[Max] dropped": "the same floor",
    "= [2] sign": "the last but one of four dimensions is the third",
    "key.bias dropped": "the bias of keys adds the same to all scores of a query, which attention cannot see",
    "noop_with_empty_axes": "the axes are given",
    "[Shape] end": "the end lies at the last dimension or beyond it",
    "[DequantizeLinear] axis": "a table has one scale for all its axes",
    "stash_type": "ONNX Runtime computes a layer norm of floats in floats",
    "[ReduceMin] keepdims": "a condition of one element is a condition",
    "transB": "ONNX Runtime takes every number but zero for true",
}


@pytest.fixture(scope="module")
def model() -> CompactBertForSequenceClassification:
    """A classifier with every kind of operator, factorized embeddings and both poolings in its head."""
    return compact_model(CHAIN)


@pytest.fixture(scope="module")
def made(
    model: CompactBertForSequenceClassification, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Path], Ranges]:
    """A file of each precision, and the ranges of activations that calibration found."""
    folder = tmp_path_factory.mktemp("mutations")
    converted = export_onnx(model, folder / "converted.onnx")
    paths = {precision: folder / PRECISIONS[precision].file_name for precision in DAMAGED}
    quantized = write_precisions(converted, paths, calibration=random_calibration(97, 40))
    return paths, quantized["int8_static"]["activations"]


@pytest.fixture(scope="module")
def files(made: tuple[dict[str, Path], Ranges]) -> dict[str, Path]:
    return made[0]


@pytest.fixture(scope="module")
def reference(model: CompactBertForSequenceClassification) -> Reference:
    return reference_of(model)


@pytest.fixture
def gate(
    model: CompactBertForSequenceClassification,
    made: tuple[dict[str, Path], Ranges],
    reference: Reference,
    tmp_path: Path,
) -> Callable[[onnx.ModelProto, str], None]:
    """What a file has to pass before it is delivered."""

    def check(mutant: onnx.ModelProto, precision: str) -> None:
        path = tmp_path / "mutant.onnx"
        onnx.save(mutant, path)
        audit(path, model.architecture, precision=precision)
        weights = check_weights(path, model, precision=precision)
        if precision == "int8_static":
            check_scales(path, made[1])
        if PRECISIONS[precision].tolerance is None:
            check_wiring(path, model, weights, reference, precision=precision)
        compare(path, reference, precision=precision)

    return check


def survivors(
    mutants: Iterator[Mutant], gate: Callable[[onnx.ModelProto, str], None], precision: str
) -> list[str]:
    """The faults that nobody noticed."""
    alive, number = [], 0
    for name, mutant in mutants:
        number += 1
        try:
            gate(mutant, precision)
        except (ExportError, VerificationError):
            continue
        alive.append(name)
    assert number > 0
    return [name for name in alive if not any(part in name for part in EQUIVALENT)]


def damaged(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The array with one row (of a vector: one number) turned over, and with one scaled."""
    rows = values.reshape(1, -1) if values.ndim == 0 else values
    middle = len(rows) // 2
    for name, change in (("sign", lambda row: -row), ("scale", lambda row: row * 1.5)):
        changed = rows.astype(np.float64)
        changed[middle] = change(changed[middle])
        if np.issubdtype(values.dtype, np.integer):
            limits = np.iinfo(values.dtype)
            changed = np.clip(np.round(changed), limits.min, limits.max)
        result = changed.astype(values.dtype).reshape(values.shape)
        if not np.array_equal(result, values):
            yield name, result


def tensor_mutants(original: onnx.ModelProto, wanted: Callable[[onnx.TensorProto], bool]) -> Iterator[Mutant]:
    for index, tensor in enumerate(original.graph.initializer):
        if not wanted(tensor):
            continue
        before = numpy_helper.to_array(tensor)
        shown = f" = {before.tolist()}" if before.size == 1 else ""
        for kind, values in damaged(before):
            mutant = copy.deepcopy(original)
            mutant.graph.initializer[index].CopyFrom(numpy_helper.from_array(values, tensor.name))
            yield f"{tensor.name}{shown} {kind}", mutant


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph and the branches in it, in a fixed order."""
    yield model.graph
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g


def places(original: onnx.ModelProto) -> Iterator[tuple[int, int]]:
    for graph_index, graph in enumerate(graphs(original)):
        for node_index in range(len(graph.node)):
            yield graph_index, node_index


def node_at(model: onnx.ModelProto, place: tuple[int, int]) -> onnx.NodeProto:
    return list(graphs(model))[place[0]].node[place[1]]


def attribute_mutants(original: onnx.ModelProto) -> Iterator[Mutant]:
    for place in places(original):
        node = node_at(original, place)
        for index, attribute in enumerate(node.attribute):
            mutant = copy.deepcopy(original)
            changed = node_at(mutant, place).attribute[index]
            if attribute.type == onnx.AttributeProto.INT:
                changed.i = attribute.i + 1
            elif attribute.type == onnx.AttributeProto.FLOAT:
                changed.f = attribute.f + 0.5
            elif attribute.type == onnx.AttributeProto.INTS:
                changed.ints[-1] += 1
            else:
                continue
            yield f"{node.name} [{node.op_type}] {attribute.name}", mutant


def swapped_mutants(original: onnx.ModelProto) -> Iterator[Mutant]:
    for place in places(original):
        node = node_at(original, place)
        if len(node.input) < 2 or node.op_type in COMMUTATIVE or node.input[0] == node.input[1]:
            continue
        mutant = copy.deepcopy(original)
        changed = node_at(mutant, place)
        changed.input[0], changed.input[1] = node.input[1], node.input[0]
        yield f"{node.name} [{node.op_type}] inputs", mutant


def dropped_mutants(original: onnx.ModelProto) -> Iterator[Mutant]:
    """Each node gives its first input on, as if it were not there."""
    for place in places(original):
        node = node_at(original, place)
        mutant = copy.deepcopy(original)
        changed = node_at(mutant, place)
        changed.CopyFrom(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name))
        yield (
            f"{node.name} {' '.join(node.input)} dropped"
            if node.op_type == "Add"
            else f"{node.name} [{node.op_type}] dropped",
            mutant,
        )


def strayed_mutants(original: onnx.ModelProto) -> Iterator[Mutant]:
    """Each node of a static file in turn takes the scale, or the zero point, of the next activation."""
    quantizing = [node for node in original.graph.node if node.op_type == "QuantizeLinear"]
    following = dict(itertools.pairwise(node.input[1] for node in quantizing))
    following |= dict(itertools.pairwise(node.input[2] for node in quantizing))
    for place in places(original):
        for index, name in enumerate(node_at(original, place).input):
            if name in following:
                mutant = copy.deepcopy(original)
                changed = node_at(mutant, place)
                changed.input[index] = following[name]
                yield f"{changed.name} {name}", mutant


def rewired_mutants(original: onnx.ModelProto) -> Iterator[Mutant]:
    """Each dense layer takes the activation of the one before it, in int8 with all that scales it."""
    rows = {tensor.name: tensor.dims[0] for tensor in original.graph.initializer if tensor.dims}

    def width(node: onnx.NodeProto) -> int:
        return next((a.i for a in node.attribute if a.name == "K"), rows[node.input[1]])

    found = [(place, node_at(original, place)) for place in places(original)]
    dense = [(place, node) for place, node in found if node.op_type in DENSE and node.input[1] in rows]
    for (_, earlier), (place, node) in itertools.pairwise(dense):
        if (earlier.op_type, width(earlier)) != (node.op_type, width(node)):
            continue
        if earlier.input[0] == node.input[0]:
            continue
        mutant = copy.deepcopy(original)
        for index in (0, 2, 4) if node.op_type == "MatMulIntegerToFloat" else (0,):
            node_at(mutant, place).input[index] = earlier.input[index]
        yield f"{node.name} [{node.op_type}] takes {earlier.input[0]}", mutant


NODE_MUTATIONS = {
    "attribute": attribute_mutants,
    "swapped": swapped_mutants,
    "dropped": dropped_mutants,
    "rewired": rewired_mutants,
}


def test_the_files_themselves_pass(
    files: dict[str, Path], gate: Callable[[onnx.ModelProto, str], None]
) -> None:
    for precision, path in files.items():
        gate(onnx.load(path), precision)


@pytest.mark.parametrize("precision", DAMAGED)
def test_a_fault_in_any_tensor_is_caught(
    files: dict[str, Path], gate: Callable[[onnx.ModelProto, str], None], precision: str
) -> None:
    mutants = tensor_mutants(onnx.load(files[precision]), lambda tensor: True)
    assert survivors(mutants, gate, precision) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_fault_in_packed_projections_is_caught(
    model: CompactBertForSequenceClassification,
    gate: Callable[[onnx.ModelProto, str], None],
    tmp_path: Path,
    precision: str,
) -> None:
    path = tmp_path / "packed.onnx"
    converted = export_onnx(model, tmp_path / "converted.onnx")
    write_precisions(converted, {precision: path}, FusionChoice(pack_projections=True))
    original = onnx.load(path)
    gate(original, precision)
    mutants = list(tensor_mutants(original, lambda tensor: PACKED in tensor.name))
    assert len(mutants) >= 2 * 2 * 2
    mutants += [m for mutate in NODE_MUTATIONS.values() for m in mutate(original) if PACKED in m[0]]
    assert survivors(iter(mutants), gate, precision) == []


def test_a_fault_in_any_activation_scale_is_caught(
    files: dict[str, Path], gate: Callable[[onnx.ModelProto, str], None]
) -> None:
    mutants = strayed_mutants(onnx.load(files["int8_static"]))
    assert survivors(mutants, gate, "int8_static") == []


@pytest.mark.parametrize("precision", DAMAGED)
@pytest.mark.parametrize("kind", list(NODE_MUTATIONS))
def test_a_fault_in_any_node_is_caught(
    files: dict[str, Path], gate: Callable[[onnx.ModelProto, str], None], kind: str, precision: str
) -> None:
    mutants = NODE_MUTATIONS[kind](onnx.load(files[precision]))
    assert survivors(mutants, gate, precision) == []


def test_every_kind_of_operator_is_damaged() -> None:
    assert {Operator.parse(name).kind for name in CHAIN} == {*KINDS} - {"identity"}
