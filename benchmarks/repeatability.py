"""Do two measurements of one file agree, and is a busy machine said to be one? results/NAME.json.

    python benchmarks/repeatability.py runs/reviews-mini/winner

Each measurement is `bertcompress benchmark` of the folder's files at its batches, lengths and threads, in a
process of its own. Some are made on the machine as it is; the last one beside a process a CPU that does
nothing but count. The command fails where medians of the first differ by more than a twentieth at a point, or
where the machine is called noisy in any of the first, or is not in the last.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import RESULTS, provenance, write_record

from bertcompress.measure.machine import num_cpus

ALLOWED_DIFFERENCE = 0.05
POINT = ("model", "precision", "batch_size", "sequence_length", "num_threads")
Medians = dict[tuple[Any, ...], float]


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="an exported model")
    parser.add_argument("--measurements", type=int, default=2, help="on the machine as it is (default: 2)")
    parser.add_argument("--name", default="repeatability", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def measure(folder: Path) -> dict[str, Any]:
    """One measurement by a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "benchmark.json"
        command = [sys.executable, "-m", "bertcompress.cli", "benchmark", str(folder)]
        subprocess.run([*command, "--output", str(output)], check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


@contextmanager
def busy_machine() -> Iterator[None]:
    """A process a CPU that counts, while the block runs."""
    counting = [
        subprocess.Popen([sys.executable, "-c", "while True: sum(range(10_000))"]) for _ in range(num_cpus())
    ]
    try:
        yield
    finally:
        for process in counting:
            process.kill()
            process.wait()


def medians(measurement: Mapping[str, Any]) -> Medians:
    """The p50 in milliseconds by file and point."""
    return {tuple(row[key] for key in POINT): row["p50_ms"] for row in measurement["rows"]}


def compare(measured: Sequence[Medians]) -> list[dict[str, Any]]:
    """Each file and point with its medians and by how much the largest is above the smallest."""
    return [
        {
            **dict(zip(POINT, point, strict=True)),
            "p50_ms": (values := [each[point] for each in measured]),
            "difference": max(values) / min(values) - 1,
        }
        for point in measured[0]
    ]


def main(words: Sequence[str]) -> int:
    """Measure, compare, write the record; the exit status."""
    arguments = parse_arguments(words)
    quiet = [measure(arguments.folder) for _ in range(arguments.measurements)]
    with busy_machine():
        busy = measure(arguments.folder)
    points = compare(list(map(medians, quiet)))
    slower = [now / min(row["p50_ms"]) for now, row in zip(medians(busy).values(), points, strict=True)]
    noise = [each["noise"] for each in quiet]
    checks = {
        "agree": all(row["difference"] <= ALLOWED_DIFFERENCE for row in points),
        "quiet_machine_is_called_quiet": not any(each["noisy"] for each in noise),
        "busy_machine_is_called_noisy": busy["noise"]["noisy"],
    }
    record = {
        "name": arguments.name,
        **provenance("repeatability.py", words, []),
        "seconds_per_point": quiet[0]["seconds_per_point"],
        "largest_difference": max(row["difference"] for row in points),
        "checks": checks,
        "points": points,
        "noise": noise,
        "beside_busy_processes": {"noise": busy["noise"], "times_slower": [min(slower), max(slower)]},
    }
    write_record(arguments.results / f"{arguments.name}.json", record)
    print(f"medians differ by {record['largest_difference']:.1%} at most; {checks}")
    for reason in itertools.chain(*(each["reasons"] for each in (*noise, busy["noise"]))):
        print(f"noisy machine: {reason}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
