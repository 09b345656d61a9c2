"""Which layers int8 harms most, found by narrowing one at a time, and how few of them must stay in fp32.

Asked only where int8 costs more right answers than is allowed: on the calibration rows each group of layers
is narrowed by itself, and the logits' change tells how much it harms. The most harmful stay in fp32, one more
at a time, until the file is good enough (partial quantization: Wu et al. 2020, arXiv 2004.09602)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bertcompress.export.calibration import Calibration, logit_change

# Writes the int8 file to a path with the named nodes left in fp32.
Make = Callable[[Path, Collection[str]], object]
# Of a file that keeps more than this share of its groups there is little left to gain.
MOST_KEPT = 0.5


@dataclass(frozen=True)
class Sensitivity:
    """What int8 cost on the calibration rows, and what was done about it.

    `drop` is the share of right answers lost by the file as it is, `drop_of_all` by one with every layer in
    int8; `logit_change` by group is empty where nobody had to ask; `kept_nodes` are those of groups `kept`.
    """

    num_rows: int
    drop: float
    drop_of_all: float
    kept: tuple[str, ...] = ()
    kept_nodes: tuple[str, ...] = ()
    logit_change: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**vars(self), "kept": list(self.kept), "kept_nodes": list(self.kept_nodes)}


def keep_sensitive(fp32: Path, path_out: Path, make: Make, calibration: Calibration) -> Sensitivity:
    """Write the int8 file with as few groups in fp32 as the calibration's `max_drop` asks for.

    At most half of them: where that is not enough, the file with the smallest drop is left, to be judged.
    """
    expected = calibration.logits(fp32)

    def drop(kept: Collection[str]) -> float:
        make(path_out, kept)
        return calibration.drop(calibration.logits(path_out), expected)

    drop_of_all = drop(())
    if drop_of_all <= calibration.max_drop:
        return Sensitivity(calibration.num_rows, drop_of_all, drop_of_all)
    groups = layer_groups(fp32)
    change = scan(groups, make, calibration, expected)
    order = sorted(groups, key=change.__getitem__, reverse=True)
    drops = {0: drop_of_all}
    for number in range(1, int(len(order) * MOST_KEPT) + 1):
        drops[number] = drop(_nodes(groups, order[:number]))
        if drops[number] <= calibration.max_drop:
            break
    best = min(drops, key=drops.__getitem__)
    kept = _nodes(groups, order[:best])
    if best != max(drops):
        make(path_out, kept)
    return Sensitivity(
        calibration.num_rows, drops[best], drop_of_all, tuple(order[:best]), tuple(kept), change
    )


def scan(
    groups: dict[str, tuple[str, ...]], make: Make, calibration: Calibration, expected: np.ndarray
) -> dict[str, float]:
    """The change of the logits (N, C) when one group alone is narrowed, by group."""
    change = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "narrowed.onnx"
        for label in groups:
            make(path, _nodes(groups, [other for other in groups if other != label]))
            change[label] = logit_change(calibration.logits(path), expected)
    return change


def layer_groups(fp32: Path) -> dict[str, tuple[str, ...]]:
    """The nodes that int8 narrows by their group: embeddings, and dense layers that share an input.

    Named after the biases that are added to them, e.g. "chain.0.query+key+value", or after their table.
    """
    graph = onnx.load(fp32, load_external_data=False).graph
    sizes = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    biases = {name: _bias(node, sizes) for node in graph.node for name in node.input}
    groups: dict[str, tuple[str, ...]] = {}
    dense: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type == "Gather" and sizes.get(node.input[0]) == 2:
            groups[_short(node.input[0])] = (node.name,)
        elif node.op_type == "MatMul" and sizes.get(node.input[1]) == 2:
            dense.setdefault(node.input[0], []).append(node)
    for nodes in dense.values():
        names = [biases.get(node.output[0]) or node.name for node in nodes]
        groups[_joined([_short(name) for name in names])] = tuple(node.name for node in nodes)
    return groups


def _nodes(groups: dict[str, tuple[str, ...]], labels: Collection[str]) -> list[str]:
    return [name for label in labels for name in groups[label]]


def _bias(node: Any, sizes: dict[str, int]) -> str | None:
    """The constant vector that a node adds."""
    if node.op_type not in ("Add", "BiasGelu"):
        return None
    return next((name for name in node.input if sizes.get(name) == 1), None)


def _short(name: str) -> str:
    return name.removeprefix("model.").removesuffix(".bias").removesuffix(".weight")


def _joined(names: list[str]) -> str:
    """Names that differ in their last part as one: a.b.x and a.b.y are a.b.x+y."""
    parents = {name.rpartition(".")[0] for name in names}
    if len(parents) > 1:
        return "+".join(sorted(names))
    return f"{parents.pop()}.{'+'.join(sorted(name.rpartition('.')[2] for name in names))}".lstrip(".")
