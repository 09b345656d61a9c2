"""How much of the machine's matrix product rate does a network reach, and where does the rest go?

    python benchmarks/gemm_share.py                       # MiniLM-L6 and a mixed chain, one thread

The rate is that of one 2048-cube, fp32 and int8, taken in turns with the networks. A network's share is the
time its products would take at that rate over the time it takes; beside it stands the share of its time that
ONNX Runtime's profile gives to products. The rest is listed by operator, from the fastest call of each node.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from record import RESULTS, provenance, write_record

from bertcompress.measure import (
    CLOCKS,
    Conditions,
    NoiseWatch,
    best_clock,
    pinned,
    random_feed,
    session,
    summarize,
    time_interleaved,
    timed_call,
)
from bertcompress.pipeline.timing import export_precisions
from bertcompress.space import (
    Architecture,
    Dimensions,
    SearchSpace,
    canonical,
    first_token_from,
    operator_macs,
    teacher_child,
)

CUBE = 2048
SHAPES = ("1x32", "1x128", "8x128")
PRECISIONS = ("fp32", "int8")
DIMENSIONS = Dimensions(1000, 384, 384, 32, 2, "cls")
MIXED = ("mha12", "mha6", "mha3", "ffn1536", "ffn768", "ffn384", "conv3", "conv5")
PRODUCTS = frozenset(
    {
        "MatMul",
        "Gemm",
        "FusedGemm",
        "FusedMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
    }
)
PROFILED_CALLS = 30
# Calls at the start of a profile that warm up.
SKIPPED_CALLS = 5


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BATCHxLENGTH")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed seconds a network and point")
    parser.add_argument("--seed", type=int, default=0, help="draws the mixed chain")
    parser.add_argument("--name", default="gemm-share", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def cube_call(precision: str) -> Callable[[], object]:
    """One product of two CUBE x CUBE matrices, the second a constant as weights are; one thread."""
    generator = np.random.default_rng(0)
    shape = (CUBE, CUBE)
    if precision == "fp32":
        left, right = (generator.standard_normal(shape, dtype=np.float32) for _ in range(2))
        kind, names, constants = "MatMul", ["a", "b"], {"b": right}
        given, made = TensorProto.FLOAT, TensorProto.FLOAT
    else:
        left = generator.integers(0, 256, shape, dtype=np.uint8)
        zero_points = {"za": np.uint8(128), "zb": np.zeros(CUBE, np.int8)}
        constants = {"b": generator.integers(-128, 128, shape, dtype=np.int8), **zero_points}
        kind, names = "MatMulInteger", ["a", "b", "za", "zb"]
        given, made = TensorProto.UINT8, TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["c"])],
        "cube",
        [helper.make_tensor_value_info("a", given, shape)],
        [helper.make_tensor_value_info("c", made, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.onnx"
        onnx.save(model, path)
        opened = session(path, 1)
    return lambda: opened.run(None, {"a": left})


def product_macs(architecture: Architecture, conditions: Conditions) -> int:
    """Multiply-adds of the chain's dense layers and of attention's two products; depthwise ones are none."""
    width, length = architecture.dimensions.hidden_size, conditions.sequence_length
    start = first_token_from(architecture.operators, architecture.dimensions.pooling)
    macs = 0
    for index, operator in enumerate(architecture.operators):
        macs += operator_macs(operator, architecture.dimensions, length, first_token=index >= start)
        macs -= {"mha": 0, "ffn": 0, "conv": length * width * operator.size}[operator.kind]
    return conditions.batch_size * macs


def profile(path: Path, conditions: Conditions, vocab_size: int) -> dict[str, dict[str, float]]:
    """Microseconds and number of nodes by operator, each node at its fastest call; attention's If apart."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = conditions.num_threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        opened = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = random_feed(opened, conditions, vocab_size=vocab_size)
        for _ in range(PROFILED_CALLS):
            opened.run(None, feed)
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    calls: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        # An If holds the time of the attention in it, which has an event of its own.
        if event["args"]["op_name"] != "If":
            calls[event["args"]["op_name"], event["name"]].append(event["dur"])
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"nodes": 0, "us": 0.0})
    for (kind, _), durations in calls.items():
        found[kind]["nodes"] += 1
        found[kind]["us"] += min(durations[SKIPPED_CALLS:])
    return dict(sorted(found.items(), key=lambda item: -item[1]["us"]))


def measure_point(
    networks: Mapping[str, Architecture],
    files: Mapping[tuple[str, str], Path],
    shape: str,
    seconds: float,
) -> list[dict[str, Any]]:
    """One row for every network and precision at a shape, timed in turns with the cubes."""
    batch_size, sequence_length = map(int, shape.split("x"))
    conditions = Conditions(batch_size, sequence_length)
    vocab_size = DIMENSIONS.vocab_size
    with NoiseWatch() as watch, pinned(1):
        calls = {
            f"{name}/{precision}": timed_call(path, conditions, vocab_size=vocab_size)
            for (name, precision), path in files.items()
        }
        calls |= {f"cube/{precision}": cube_call(precision) for precision in PRECISIONS}
        turns = time_interleaved(
            calls,
            min_seconds=seconds,
            max_seconds=seconds,
            percentiles=(50,),
            clock=CLOCKS[best_clock(conditions)],
        )
        profiles = {key: profile(path, conditions, vocab_size) for key, path in files.items()}
    rows = []
    for (name, precision), by_operator in profiles.items():
        seconds_taken = float(np.median(turns[f"{name}/{precision}"]))
        rate = CUBE**3 / float(np.median(turns[f"cube/{precision}"]))  # multiply-adds a second
        macs = product_macs(networks[name], conditions)
        in_all = sum(each["us"] for each in by_operator.values())
        in_products = sum(each["us"] for kind, each in by_operator.items() if kind in PRODUCTS)
        rows.append(
            {
                "network": name,
                **conditions.to_dict(),
                "precision": precision,
                "latency": summarize(turns[f"{name}/{precision}"], (50,)).to_dict(),
                "cube": summarize(turns[f"cube/{precision}"], (50,)).to_dict(),
                "cube_gflop_per_s": 2 * rate / 1e9,
                "gflop_per_s": 2 * macs / seconds_taken / 1e9,
                "share_of_rate": macs / rate / seconds_taken,
                "share_of_time_in_products": in_products / in_all,
                "by_operator": by_operator,
                "noise": watch.noise.to_dict(),
            }
        )
    return rows


def make_networks(seed: int) -> dict[str, Architecture]:
    """MiniLM-L6, and a chain of twelve operators of every kind and size."""
    rng = random.Random(seed)
    space = SearchSpace.uniform(DIMENSIONS, 12, MIXED)
    return {
        "MiniLM-L6": Architecture(DIMENSIONS, teacher_child(6, 12, 1536)),
        "mixed": Architecture(DIMENSIONS, canonical(space.sample(rng))),
    }


def main() -> None:
    """Export, time and profile every network, and write the record."""
    arguments = parse_arguments()
    started = time.perf_counter()
    networks = make_networks(arguments.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gemm-share-") as folder:
        files = {}
        for name, architecture in networks.items():
            paths = {precision: Path(folder) / f"{name}_{precision}.onnx" for precision in PRECISIONS}
            export_precisions(architecture, paths)
            files |= {(name, precision): path for precision, path in paths.items()}
        for shape in arguments.shapes:
            rows += measure_point(networks, files, shape, arguments.seconds)
    _print(rows)
    record = {
        "name": arguments.name,
        **provenance("gemm_share.py", sys.argv[1:], [arguments.seed]),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "networks": {name: architecture.to_dict() for name, architecture in networks.items()},
        "rows": rows,
    }
    write_record(arguments.results / f"{arguments.name}.json", record)


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        whole = sum(each["us"] for each in row["by_operator"].values())
        largest = ", ".join(
            f"{kind} {each['us'] / whole:.0%}" for kind, each in list(row["by_operator"].items())[:6]
        )
        print(
            f"{row['network']} {row['batch_size']}x{row['sequence_length']} {row['precision']}: "
            f"{row['latency']['p50_ms']:.2f} ms, {row['share_of_rate']:.2f} of {row['cube_gflop_per_s']:.0f} "
            f"GFLOP/s; {largest}"
        )


if __name__ == "__main__":
    main()
