"""Does every architecture export? Random ones of random sizes, through every gate of a delivered file.

    python benchmarks/export_grid.py                     # 200 architectures in every precision
    python benchmarks/export_grid.py --only 17           # one of them again, its error raised

Sizes are drawn as well as operators: width, head size (also one that does not divide the width), factorized
embeddings, pooling, words, positions, segments, labels and the fusions of the file. Each file has to hold its
fused nodes, the model's weights, and PyTorch's logits over every kind of padding and length; a file that does
not is listed with the gate that stopped it. What is done is kept beside the record: a killed grid goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, provenance, write_record

from bertcompress.errors import BertCompressError
from bertcompress.export.audit import audit
from bertcompress.export.calibration import random_calibration
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import CANDIDATES, LOAD_ERRORS, FusionChoice
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.verify import compare, reference_of
from bertcompress.export.weights import check_weights
from bertcompress.export.widen import check_wiring
from bertcompress.export.write import write_precisions
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import IDENTITY, KINDS, Architecture, Dimensions, Operator

WIDTHS = (8, 16, 24, 32, 48, 64, 80, 96, 128)
HEAD_SIZES = (1, 4, 8, 12, 16, 32)
POOLINGS = ("cls", "mean", "mean_max")
POSITIONS = (3, 8, 33, 40, 64, 129)
WORDS = (5, 30, 97, 128, 301)
LONGEST = 8
# What the grid stopped before it passed, for the record: of 200 architectures with seed 0, in fp32 and int8.
FOUND_BEFORE = (
    {
        "architectures": 6,
        "indices": [28, 116, 135, 156, 167, 192],
        "gate": "int8: audit",
        "error": "ffn1 has no Gelu",
        "cause": "a dense layer of one output keeps its bias in a node of its own, behind which the audit "
        "did not look for the layer's width; the file itself was right",
    },
)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--number", type=int, default=200, help="architectures")
    parser.add_argument("--only", type=int, metavar="INDEX", help="one architecture, its error raised")
    parser.add_argument("--precisions", nargs="+", default=tuple(PRECISIONS), choices=tuple(PRECISIONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="export-grid", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def draw(seed: int, index: int) -> tuple[Architecture, FusionChoice]:
    """The architecture of an index and the fusions of its files; the same for the same seed."""
    rng = random.Random(f"{seed}/{index}")
    width = rng.choice(WIDTHS)
    head_size = rng.choice([size for size in HEAD_SIZES if size <= width])
    dimensions = Dimensions(
        vocab_size=rng.choice(WORDS),
        hidden_size=width,
        embedding_size=rng.choice((width, width, width // 2, width // 4, 3)),
        head_size=head_size,
        num_labels=rng.randint(1, 5),
        pooling=rng.choice(POOLINGS),
        max_position_embeddings=rng.choice(POSITIONS),
        type_vocab_size=rng.randint(1, 3),
    )
    operators = []
    for _ in range(rng.randint(0, LONGEST)):
        kind = rng.choice([kind for kind in KINDS.values() if kind.word != IDENTITY.kind])
        operators.append(Operator(kind.word, rng.choice(kind.sizes(dimensions, 2 * width))))
    return Architecture(dimensions, tuple(operators)), rng.choice(list(CANDIDATES.values()))


def make_model(architecture: Architecture, seed: int) -> CompactBertForSequenceClassification:
    """The network in eval mode, its weights wide enough that a logit tells every one of them."""
    torch.manual_seed(seed)
    model = CompactBertForSequenceClassification(CompactBertConfig.from_architecture(architecture)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def check(seed: int, index: int, precisions: list[str]) -> dict[str, Any]:
    """Export an architecture and ask every gate; "gate" and "error" say what stopped it, if anything did."""
    architecture, fusion = draw(seed, index)
    dimensions = architecture.dimensions
    found: dict[str, Any] = {
        "index": index,
        "architecture": architecture.to_dict(),
        "fusion": {name: value for name, value in fusion.to_dict().items() if name != "measured_ms"},
    }
    began = time.perf_counter()
    gate = "export"
    try:
        model = make_model(architecture, index)
        with tempfile.TemporaryDirectory() as folder:
            paths = {precision: Path(folder) / f"{precision}.onnx" for precision in precisions}
            converted = export_onnx(model, Path(folder) / "converted.onnx")
            calibration = random_calibration(dimensions.vocab_size, dimensions.max_position_embeddings)
            made = write_precisions(converted, paths, fusion, calibration)
            reference = reference_of(model)
            errors = {}
            for precision, path in paths.items():
                gate = f"{precision}: audit"
                audit(path, architecture, precision=precision)
                gate = f"{precision}: weights"
                weights = check_weights(path, model, precision=precision)
                gate = f"{precision}: scales"
                PRECISIONS[precision].check(path, made.get(precision, {}))
                if PRECISIONS[precision].tolerance is None:
                    gate = f"{precision}: wiring"
                    check_wiring(path, model, weights, reference, precision=precision)
                gate = f"{precision}: logits"
                errors[precision] = compare(path, reference, precision=precision).max_logit_error
        found["max_logit_errors"] = errors
    except (BertCompressError, RuntimeError, ValueError, *LOAD_ERRORS) as error:
        found |= {"gate": gate, "error": f"{type(error).__name__}: {error}"}
    found["seconds"] = time.perf_counter() - began
    return found


def read_done(path: Path) -> dict[int, dict[str, Any]]:
    """The architectures that an earlier call finished, by index."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["index"]: row for row in rows}


def summarize(rows: list[dict[str, Any]], precisions: list[str]) -> dict[str, Any]:
    """How many passed, the failures by gate, and the largest logit error of each precision."""
    failures = [row for row in rows if "error" in row]
    passed = [row for row in rows if "error" not in row]
    gates: dict[str, int] = {}
    for row in failures:
        gates[row["gate"]] = gates.get(row["gate"], 0) + 1
    return {
        "architectures": len(rows),
        "passed": len(passed),
        "failures_by_gate": gates,
        "failures": failures,
        "max_logit_errors": {
            name: max((row["max_logit_errors"][name] for row in passed), default=None) for name in precisions
        },
        "seconds": sum(row["seconds"] for row in rows),
    }


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    arguments = parse_arguments(words)
    torch.set_num_threads(1)
    if arguments.only is not None:
        row = check(arguments.seed, arguments.only, arguments.precisions)
        print(json.dumps(row, indent=2))
        return int("error" in row)
    kept = arguments.results / f"{arguments.name}.partial.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    done = read_done(kept)
    for index in range(arguments.number):
        if index in done:
            continue
        done[index] = check(arguments.seed, index, arguments.precisions)
        with kept.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(done[index]) + "\n")
        state = "FAILED " + done[index]["gate"] if "error" in done[index] else "passed"
        print(f"{index + 1} of {arguments.number}: {state} ({done[index]['seconds']:.1f} s)", flush=True)
    rows = [done[index] for index in range(arguments.number)]
    summary = summarize(rows, arguments.precisions)
    record = {
        **provenance("export_grid.py", words, [arguments.seed]),
        "drawn_from": {
            "hidden_size": WIDTHS,
            "head_size": HEAD_SIZES,
            "pooling": POOLINGS,
            "max_position_embeddings": POSITIONS,
            "vocab_size": WORDS,
            "kinds": [kind.form for kind in KINDS.values()],
            "longest_chain": LONGEST,
        },
        "found_before": FOUND_BEFORE,
        **summary,
        "rows": rows,
    }
    write_record(arguments.results / f"{arguments.name}.json", record)
    kept.unlink()
    print(f"{summary['passed']} of {summary['architectures']} passed")
    return int(summary["passed"] < summary["architectures"])


if __name__ == "__main__":
    sys.exit(main())
