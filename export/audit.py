"""Does the exported graph hold what its architecture should give? A fusion that silently fails costs latency.

A chain's operators depend on each other in order, so their nodes stand in the file in the chain's order. Each
kind of operator declares the node that it has to become, and where that node has its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from bertcompress.errors import ExportError
from bertcompress.export.packing import PACKED, PARTS
from bertcompress.export.precisions import find_precision
from bertcompress.space import KINDS, Architecture, Dimensions, Operator
from bertcompress.space.operators import GELU, FusedNode, SizeSource

# Nodes that move numbers without changing any.
MOVING = ("Slice", "Squeeze", "Unsqueeze", "Transpose", "Reshape", "Gather")
# The word of a kind and a size, which in a damaged file is that of no operator.
Found: TypeAlias = tuple[str, int]


def audit(
    path: Path | str, architecture: Architecture, *, precision: str = "fp32", num_kept: int = 0
) -> dict[str, Any]:
    """Count the fused nodes that the architecture asks for and those that an optimised file has.

    `num_kept` dense layers may be in fp32 though the precision is another.

    Raises:
        ExportError: a position has no fused node of its kind and size, or a dense layer is not narrowed.
    """
    graph = onnx.load(path, load_external_data=False).graph
    expected: list[Found] = [(operator.kind, operator.size) for operator in architecture.operators]
    found = list(_Chain(graph, precision))
    problems = _differences(expected, found, precision)
    dense = " or ".join(sorted(find_precision(precision).nodes.dense))
    num_dense = sum(_num_dense(operator, architecture.dimensions) for operator in architecture.operators)
    # Packed projections are one layer, whose output is split (see packing).
    num_packed = sum(node.op_type == "Split" and PACKED in node.name for node in graph.node)
    num_dense -= num_kept + (len(PARTS) - 1) * num_packed
    found_dense = sum(node.op_type in find_precision(precision).nodes.dense for node in graph.node)
    if found_dense < num_dense:
        problems.append(f"{dense}: {found_dense} nodes; the chain has {num_dense} dense layers")
    if problems:
        raise ExportError.from_problems(f"{path} (architecture {architecture.name})", problems)
    return {
        "expected": {**_counts(expected, precision), dense: num_dense},
        "found": {**_counts(found, precision), dense: found_dense},
    }


def _num_dense(operator: Operator, dimensions: Dimensions) -> int:
    return len(KINDS[operator.kind].dense_layers(operator.size, dimensions))


def _node_type(node: FusedNode, precision: str) -> str:
    return find_precision(precision).nodes.gelu if node.op_type == GELU else node.op_type


class _Chain:
    """The operators of a graph in order, each recognised by the node that its kind declares."""

    def __init__(self, graph: Any, precision: str) -> None:
        self._nodes, self._precision = graph.node, precision
        self._constants = {tensor.name: tensor.dims for tensor in graph.initializer}
        self._makers = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def __iter__(self) -> Iterator[Found]:
        for node in self._nodes:
            held = _branched(node) or node
            for kind in KINDS.values():
                if kind.node is None or not self._is(held, kind.node, node.output[0]):
                    continue
                if size := self._size(held, kind.node.size):
                    yield kind.word, size

    def _is(self, node: Any, wanted: FusedNode, output: str) -> bool:
        same_type = node.op_type == _node_type(wanted, self._precision)
        return same_type and self._is_multiplied(output) == wanted.multiplied

    def _is_multiplied(self, name: str) -> bool:
        """Whether a Mul takes a tensor, as it is or moved."""
        readers = self._readers.get(name, [])
        moved = [output for node in readers if node.op_type in MOVING for output in node.output]
        return any(node.op_type == "Mul" for node in readers) or any(map(self._is_multiplied, moved))

    def _size(self, node: Any, source: SizeSource) -> int | None:
        """Return the operator's size; None where the node belongs to none, as the gelu of a convolution."""
        if source == "dense width":
            return _gelu_width(node, self._makers, self._constants, self._precision)
        found = [each for each in node.attribute if each.name == source]
        return int(found[0].ints[-1] if found[0].ints else found[0].i) if found else None


def _branched(node: Any) -> Any | None:
    """Return the node that both branches of an If hold, alike in its attributes; None of others."""
    if node.op_type != "If":
        return None
    branches = {attribute.name: list(attribute.g.node) for attribute in node.attribute}
    nodes = [*branches["then_branch"], *branches["else_branch"]]
    alike = len(nodes) == 2 and nodes[0].op_type == nodes[1].op_type
    return nodes[0] if alike and list(nodes[0].attribute) == list(nodes[1].attribute) else None


def _gelu_width(node: Any, makers: dict[str, Any], constants: dict[str, Any], precision: str) -> int | None:
    """Return the width of the dense layer before a gelu; None where there is none."""
    if node.op_type == "BiasGelu":
        weight = node.input[1]
    else:
        maker = makers.get(node.input[0])
        if maker is not None and maker.op_type == "Add":  # a dense layer that stayed in fp32
            return next((int(constants[name][0]) for name in maker.input if name in constants), None)
        if maker is None or maker.op_type not in find_precision(precision).nodes.dense:
            return None
        weight = maker.input[1]
    return int(constants[weight][-1]) if weight in constants else None


def _counts(operators: Sequence[Found], precision: str) -> dict[str, int]:
    """Return the number of operators by the node that each is recognised by."""
    counts: dict[str, int] = {}
    for kind in KINDS.values():
        if kind.node is not None:
            node = _node_type(kind.node, precision)
            counts[node] = counts.get(node, 0) + sum(word == kind.word for word, _ in operators)
    return counts


def _differences(expected: Sequence[Found], found: Sequence[Found], precision: str) -> list[str]:
    """Return a problem for each position whose fused node is missing, and each node that belongs to none."""
    problems = []
    matcher = SequenceMatcher(None, expected, found, autojunk=False)
    for tag, start, end, found_start, found_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        names = ", ".join(f"{word}{size}" for word, size in found[found_start:found_end])
        instead = f"found {names or 'none'}"
        problems += [
            f"position {position}: {_missing(operator, precision)} ({instead} there)"
            for position, operator in enumerate(expected[start:end], start)
        ]
        if start == end:
            problems.append(f"before position {start}: {instead}, which the architecture does not have")
    return problems


def _missing(operator: Found, precision: str) -> str:
    word, size = operator
    node = KINDS[word].node
    assert node is not None, f"{word} is in no canonical form"
    return f"{word}{size} has no {_node_type(node, precision)}"
