"""Do two measurements of one file agree, and is a busy machine said to be one? results/NAME.json.

    python benchmarks/repeatability.py runs/reviews-mini/winner

Each measurement is `bertcompress benchmark` of the folder's files at its batches, lengths and threads, in a
process of its own. Some are made on the machine as it is; the last one beside a process a CPU that does
nothing but count. The command fails where medians of the first differ by more than a twentieth at a point, or
where the machine is called noisy in any of the first, or is not in the last. It also says how far those agree
that can be compared: of several threads, where the CPUs were near each other all the time (`team_shares`).
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

from bertcompress.measure.clock import team_changed
from bertcompress.measure.machine import num_cpus

ALLOWED_DIFFERENCE = 0.05
POINT = ("model", "precision", "batch_size", "sequence_length", "num_threads")
RowsByPoint = dict[tuple[Any, ...], Mapping[str, Any]]


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


def by_point(measurement: Mapping[str, Any]) -> RowsByPoint:
    """The rows by file and point."""
    return {tuple(row[key] for key in POINT): row for row in measurement["rows"]}


def compare(measured: Sequence[RowsByPoint]) -> list[dict[str, Any]]:
    """Each file and point with its medians, and by how much the largest is above the smallest.

    Also of the medians that can be compared, None of fewer than two: all of one thread; of several those in
    whose readings threads worked together as well as in the best of all.
    """
    points = []
    for point in measured[0]:
        rows = [each[point] for each in measured]
        shares = [row["team_shares"] for row in rows]
        best = min((least for least, _ in filter(None, shares)), default=0.0)
        medians = [row["p50_ms"] for row in rows]
        near = [
            median
            for median, share in zip(medians, shares, strict=True)
            if share is None or not team_changed((best, share[1]))
        ]
        points.append(
            {
                **dict(zip(POINT, point, strict=True)),
                "p50_ms": medians,
                "team_shares": shares,
                "difference": max(medians) / min(medians) - 1,
                "num_compared": len(near),
                "difference_of_compared": max(near) / min(near) - 1 if len(near) > 1 else None,
            }
        )
    return points


def differences(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many points there are, how many could be compared, and by how much they differ, by threads."""
    found = {}
    for threads in sorted({point["num_threads"] for point in points}):
        those = [point for point in points if point["num_threads"] == threads]
        found_of = [point["difference_of_compared"] for point in those]
        compared = [difference for difference in found_of if difference is not None]
        found[str(threads)] = {
            "points": len(those),
            "largest_difference": max(point["difference"] for point in those),
            "compared": len(compared),
            "largest_difference_of_compared": max(compared, default=None),
            "within_allowed": sum(difference <= ALLOWED_DIFFERENCE for difference in compared),
        }
    return found


def main(words: Sequence[str]) -> int:
    """Measure, compare, write the record; the exit status."""
    arguments = parse_arguments(words)
    quiet = [measure(arguments.folder) for _ in range(arguments.measurements)]
    with busy_machine():
        busy = measure(arguments.folder)
    points = compare(list(map(by_point, quiet)))
    rows = by_point(busy).values()
    slower = [now["p50_ms"] / min(row["p50_ms"]) for now, row in zip(rows, points, strict=True)]
    noise = [each["noise"] for each in quiet]
    agreement = differences(points)
    checks = {
        "agree": all(row["difference"] <= ALLOWED_DIFFERENCE for row in points),
        "what_can_be_compared_agrees": all(
            each["within_allowed"] == each["compared"] for each in agreement.values()
        ),
        "quiet_machine_is_called_quiet": not any(each["noisy"] for each in noise),
        "busy_machine_is_called_noisy": busy["noise"]["noisy"],
    }
    record = {
        "name": arguments.name,
        **provenance("repeatability.py", words, []),
        "seconds_per_point": quiet[0]["seconds_per_point"],
        "agreement_by_threads": agreement,
        "checks": checks,
        "points": points,
        "noise": noise,
        "beside_busy_processes": {"noise": busy["noise"], "times_slower": [min(slower), max(slower)]},
    }
    write_record(arguments.results / f"{arguments.name}.json", record)
    for threads, each in agreement.items():
        print(f"{threads} threads: {each}")
    print(checks)
    for reason in itertools.chain(*(each["reasons"] for each in (*noise, busy["noise"]))):
        print(f"noisy machine: {reason}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
