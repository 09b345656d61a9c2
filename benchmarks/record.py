"""What every record in benchmarks/results has in common: where its numbers come from, how it is written."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertcompress.measure.machine import cpu_model, num_cpus
from bertcompress.measure.versions import versions

RESULTS = Path(__file__).parent / "results"
# Where a benchmark writes changes no number.
_PLACES = ("--results", "--output", "--figures", "--run-dir")
# What changes numbers, but stands in no argument.
_VARIABLES = ("ACCELERATE_MIXED_PRECISION", "OMP_NUM_THREADS")


def provenance(script: str, words: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Where a record comes from: `script` is the file in benchmarks/, `words` are its arguments."""
    return {
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "command": shlex.join(["python", f"benchmarks/{script}", *_without_places(words)]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seeds": list(seeds),
        "machine": machine(),
        "versions": versions(),
    }


def _without_places(words: Sequence[str]) -> list[str]:
    kept = [word for index, word in enumerate(words) if index == 0 or words[index - 1] not in _PLACES]
    return [word for word in kept if word.split("=")[0] not in _PLACES]


def machine() -> dict[str, Any]:
    """The processor, the CPUs that this process may use, and the system."""
    return {
        "cpu": cpu_model(),
        "cores": num_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as indented JSON, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Wrote {path}")
