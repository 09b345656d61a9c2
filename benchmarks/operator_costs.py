"""What one operator of each kind costs at batch one beside `conv5` and `mha3`: results/operator-costs.json.

    python benchmarks/operator_costs.py

Whole files are timed, as the project's clock times every network: chains of the same operator repeated, and
the empty chain, whose time is taken off. All files of a precision take turns; a ratio is that of two
operators in one turn, and its median and middle half over the turns are recorded. Where the clock can, it
reads the CPU time of one thread, which does not count the machine's other work.

A candidate that was not kept is timed too: a gated linear recurrence in both directions (minGRU; Feng et al.
2024, arXiv 2410.01201), h = (1 - z) h + z v with z = sigmoid(gate(x)) and v = value(x), as an ONNX Scan.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import GraphProto, NodeProto, TensorProto, helper
from record import RESULTS, provenance, write_record
from torch import Tensor, nn

from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import FusionChoice
from bertcompress.export.write import write_precisions
from bertcompress.measure import CLOCKS, Conditions, best_clock, time_files
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import Architecture, Dimensions, Operator

DIMENSIONS = Dimensions(1000, 384, 384, 32, 2, "mean")
OPERATORS = ("conv5", "mha3", "ffn384", "conv31", "geglu256", "gconv15", "gconv31")
REFERENCES = ("conv5", "mha3")
RECURRENCE, EMPTY = "recurrence", "empty"
PRECISIONS = ("fp32", "int8")
PLACEHOLDER = "LinearRecurrence"


class GatedRecurrence(nn.Module):
    """The recurrence as an operator of a chain; half the width in each direction; only exported.

    A padded token has z = 0: it hands the state on and adds nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.output, self.norm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        z = torch.sigmoid(self.gate(x)) * attention_mask.unsqueeze(-1).to(x.dtype)
        states = torch.onnx.ops.symbolic(
            f"study::{PLACEHOLDER}", (1 - z, z * self.value(x)), {}, dtype=x.dtype, shape=x.shape, version=1
        )
        return self.norm(x + self.output(states))


def scan_recurrences(path: Path) -> None:
    """Put two Scans in place of each placeholder of a file: h = a h + b, one in each direction."""
    model = onnx.load(path)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes += _scans(node) if node.op_type == PLACEHOLDER else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _scans(node: NodeProto) -> list[NodeProto]:
    name = node.name
    halves = [[f"{name}.{what}.{way}" for way in range(2)] for what in ("a", "b")]
    nodes = [
        helper.make_node("Split", [given], outputs, axis=-1, num_outputs=2, name=f"{outputs[0]}.split")
        for given, outputs in zip(node.input, halves, strict=True)
    ]
    first, zero = f"{name}.first", f"{name}.zero"
    index = helper.make_tensor(f"{name}.index", TensorProto.INT64, [], [0])
    nodes += [
        helper.make_node("Constant", [], [f"{name}.index"], value=index, name=f"{name}.index"),
        helper.make_node("Gather", [halves[0][0], f"{name}.index"], [first], axis=1, name=first),
        helper.make_node("Sub", [first, first], [zero], name=zero),
    ]
    for way in range(2):
        nodes.append(
            helper.make_node(
                "Scan",
                [zero, halves[0][way], halves[1][way]],
                [f"{name}.last.{way}", f"{name}.states.{way}"],
                name=f"{name}.scan.{way}",
                body=_step(),
                num_scan_inputs=2,
                scan_input_axes=[1, 1],
                scan_output_axes=[1],
                scan_input_directions=[way, way],
                scan_output_directions=[way],
            )
        )
    states = [f"{name}.states.{way}" for way in range(2)]
    return [*nodes, helper.make_node("Concat", states, list(node.output), axis=-1, name=f"{name}.both")]


def _step() -> GraphProto:
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("h", "a", "b")]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("next", "state")]
    nodes = [
        helper.make_node("Mul", ["h", "a"], ["kept"]),
        helper.make_node("Add", ["kept", "b"], ["next"]),
        helper.make_node("Identity", ["next"], ["state"]),
    ]
    return helper.make_graph(nodes, "step", given, made)


def write_files(name: str, repeats: int, folder: Path) -> dict[str, Path]:
    """Write the file of each precision of a chain that repeats an operator, or of the empty chain."""
    repeated = () if name == EMPTY else (Operator.parse("conv3" if name == RECURRENCE else name),) * repeats
    architecture = Architecture(DIMENSIONS, repeated)
    model = CompactBertForSequenceClassification(CompactBertConfig.from_architecture(architecture)).eval()
    if name == RECURRENCE:
        model.chain = nn.ModuleList(GatedRecurrence(DIMENSIONS.hidden_size) for _ in range(repeats))
    converted = export_onnx(model, folder / f"{name}.converted.onnx")
    if name == RECURRENCE:
        scan_recurrences(converted)
    paths = {precision: folder / f"{name}.{precision}.onnx" for precision in PRECISIONS}
    write_precisions(converted, paths, FusionChoice())
    return paths


def compare(
    paths: Mapping[str, Path], conditions: Conditions, repeats: int, seconds: float
) -> dict[str, Any]:
    """Time the files in turns: microseconds of each operator, and its cost over each reference's."""
    clock = best_clock(conditions)
    timings = time_files(
        paths,
        conditions,
        vocab_size=DIMENSIONS.vocab_size,
        min_seconds=seconds / 2,
        max_seconds=seconds,
        percentiles=(50,),
        clock=CLOCKS[clock],
    )
    medians = {name: np.median(turns, axis=1) for name, turns in timings.seconds.items()}  # (turns,)
    costs = {name: (each - medians[EMPTY]) / repeats for name, each in medians.items() if name != EMPTY}
    return {
        "conditions": str(conditions),
        "clock": clock,
        "turns": len(medians[EMPTY]),
        "operators": {
            name: {
                "microseconds": round(float(np.median(cost)) * 1e6, 1),
                **{f"over_{other}": _quartiles(cost / costs[other]) for other in REFERENCES},
            }
            for name, cost in costs.items()
        },
    }


def _quartiles(ratios: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return {"median": round(float(middle), 3), "from": round(float(low), 3), "to": round(float(high), 3)}


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operators", nargs="+", default=OPERATORS)
    parser.add_argument("--lengths", nargs="+", type=int, default=(32, 128))
    parser.add_argument("--repeats", type=int, default=4, help="operators a chain")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed seconds a file and point")
    parser.add_argument("--output", type=Path, default=RESULTS / "operator-costs.json")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    arguments = parse_arguments(words)
    torch.manual_seed(0)
    names = (EMPTY, *dict.fromkeys((*REFERENCES, *arguments.operators)), RECURRENCE)
    points = []
    with tempfile.TemporaryDirectory() as folder:
        files = {name: write_files(name, arguments.repeats, Path(folder)) for name in names}
        for precision in PRECISIONS:
            paths = {name: made[precision] for name, made in files.items()}
            for length in arguments.lengths:
                conditions = Conditions(
                    batch_size=1, sequence_length=length, precision=precision, num_threads=1
                )
                points.append(compare(paths, conditions, arguments.repeats, arguments.seconds))
                print(points[-1]["conditions"], flush=True)
                for name, row in points[-1]["operators"].items():
                    over = [f"{row[f'over_{other}']['median']:.2f} x {other}" for other in REFERENCES]
                    print(f"  {name:12} {row['microseconds']:7.1f} us, {', '.join(over)}", flush=True)
    record = {
        **provenance("operator_costs.py", words, [0]),
        "hidden_size": DIMENSIONS.hidden_size,
        "head_size": DIMENSIONS.head_size,
        "repeats": arguments.repeats,
        "points": points,
    }
    write_record(arguments.output, record)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
