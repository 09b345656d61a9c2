"""In which states does a machine's pair of CPUs work together, and what shows it? results/NAME.json.

    python benchmarks/teamwork.py runs/reviews-mini/export/winner/model.onnx

Every second or so, for some minutes: what two threads take of one thread's time, of the file at batch 1 and
of the instrument's chain of small products (`Teamwork`), and what hashing and a product of matrices take
beside the same on the other CPU, over alone. Readings fall into a near and a far state by the chain.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from record import RESULTS, provenance, write_record
from threadpoolctl import threadpool_limits

from bertcompress.measure import Conditions, pinned, timed_call
from bertcompress.measure.clock import team_changed
from bertcompress.measure.teamwork import Teamwork

HASHED = bytes(1 << 20)
CALLS = 12


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="an exported file")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--name", default="teamwork", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def median_seconds(call: Callable[[], object]) -> float:
    """The median of CALLS calls, after one that warms up."""
    call()
    timings = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        timings.append(time.perf_counter() - start)
    return statistics.median(timings)


def beside_itself(call: Callable[[], object]) -> float:
    """What a call on one thread takes while another thread makes the same call over and over, over alone."""
    alone, done = median_seconds(call), threading.Event()

    def go_on() -> None:
        while not done.is_set():
            call()

    other = threading.Thread(target=go_on)
    other.start()
    try:
        return median_seconds(call) / alone
    finally:
        done.set()
        other.join()


def hash_a_mebibyte() -> None:
    # Lets go of the interpreter's lock, as the product does.
    hashlib.blake2b(HASHED).digest()


def read(path: Path, sequence_length: int, minutes: float) -> list[dict[str, float]]:
    """Readings by name, printed as they come."""
    matrix = np.ones((256, 256), dtype=np.float32)
    readings: list[dict[str, float]] = []
    with pinned(2), threadpool_limits(1):
        team = Teamwork(2)
        one, two = (
            timed_call(path, Conditions(1, sequence_length, threads), vocab_size=100) for threads in (1, 2)
        )
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            readings.append(
                {
                    "chain": team.share(),
                    "file": median_seconds(two) / median_seconds(one),
                    "hashing": beside_itself(hash_a_mebibyte),
                    "product": beside_itself(lambda: matrix @ matrix),
                }
            )
            print(", ".join(f"{name} {value:.2f}" for name, value in readings[-1].items()), flush=True)
            time.sleep(0.5)
    return readings


def main(words: Sequence[str]) -> int:
    """Read, print, write the record."""
    arguments = parse_arguments(words)
    readings = read(arguments.path, arguments.sequence_length, arguments.minutes)
    nearest = min(reading["chain"] for reading in readings)
    states = {
        state: [reading for reading in readings if team_changed((nearest, reading["chain"])) == far]
        for state, far in (("near", False), ("far", True))
    }
    summary = {
        state: {
            "readings": len(those),
            **{name: statistics.median(reading[name] for reading in those) for name in readings[0]},
        }
        for state, those in states.items()
        if those
    }
    record = {
        "name": arguments.name,
        **provenance("teamwork.py", words, []),
        "states": summary,
        "readings": readings,
    }
    write_record(arguments.results / f"{arguments.name}.json", record)
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
