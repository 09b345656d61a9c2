"""What a server pays before its first answer: a process of its own that imports, loads, answers and ends.

Run as a program it is that process; called, it starts several and gives their medians.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bertcompress.errors import ExportError
from bertcompress.measure.session import Conditions, random_feed, session

NUM_RUNS = 20
_PROGRAM = "from bertcompress.measure.cold_start import main; main()"


@dataclass(frozen=True)
class FreshStart:
    """Medians over fresh processes. `cold_start_ms` is from the start of the process to the first answer.

    It is the sum of `import_ms` (interpreter, numpy, ONNX Runtime), `session_load_ms` and `first_run_ms`.
    `peak_memory_mib` is the high-water mark of the process after NUM_RUNS runs, `model_memory_mib` what of it
    came after the imports.
    """

    num_processes: int
    cold_start_ms: float
    import_ms: float
    session_load_ms: float
    first_run_ms: float
    peak_memory_mib: float
    model_memory_mib: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def measure_cold_start(
    path: Path | str, conditions: Conditions, *, vocab_size: int, num_processes: int = 3
) -> FreshStart:
    """Start `num_processes` processes one after another that each load the file and run it.

    The file is in the system's cache by then: a first start from a cold disk takes longer.

    Raises:
        ExportError: the file does not load.
    """
    # One unmeasured process: the libraries' files, too, are then read from memory.
    measured = [_start(path, conditions, vocab_size) for _ in range(num_processes + 1)][1:]
    return FreshStart(num_processes, **{name: median(row[name] for row in measured) for name in measured[0]})


def _start(path: Path | str, conditions: Conditions, vocab_size: int) -> dict[str, float]:
    question = {"path": str(path), "conditions": conditions.to_dict(), "vocab_size": vocab_size}
    # The monotonic clock is one for all processes of a machine.
    question["started"] = time.monotonic()
    command = [sys.executable, "-c", _PROGRAM, json.dumps(question)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"{path}: a fresh process cannot run it: {last}")
    answer: dict[str, float] = json.loads(finished.stdout)
    return answer


def main() -> None:
    """Answer the question of `_start`, given as JSON in the first argument, with JSON on standard output."""
    question = json.loads(sys.argv[1])
    marks = [question["started"], time.monotonic()]
    memory = _peak_memory_mib()
    conditions = Conditions(**question["conditions"])
    opened = session(question["path"], conditions.num_threads, conditions.provider)
    marks.append(time.monotonic())
    feed = random_feed(opened, conditions, vocab_size=question["vocab_size"])
    opened.run(None, feed)
    marks.append(time.monotonic())
    for _ in range(NUM_RUNS):
        opened.run(None, feed)
    peak = _peak_memory_mib()
    imported, loaded, answered = ((mark - marks[0]) * 1000 for mark in marks[1:])
    answer = {
        "cold_start_ms": answered,
        "import_ms": imported,
        "session_load_ms": loaded - imported,
        "first_run_ms": answered - loaded,
        "peak_memory_mib": peak,
        "model_memory_mib": peak - memory,
    }
    print(json.dumps(answer))


def _peak_memory_mib() -> float:
    """The most memory this process has held; Linux's ru_maxrss would begin with the parent's."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        # macOS counts bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
