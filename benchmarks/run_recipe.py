"""Run a recipe as a user would, and keep its numbers with where they come from: benchmarks/results/NAME.json.

    python benchmarks/run_recipe.py sst2-small --set data.source=data/glue/sst2
    python benchmarks/run_recipe.py reviews-mini --repeat 2

Every repeat is a process and a run folder of its own with the same seed; the record says whether they agree.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import RESULTS, provenance, write_record

EXIT_BUDGET_BROKEN = 3


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a recipe's file, or the name of one that ships")
    parser.add_argument("--name", help="the record's name (default: the recipe's)")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/benchmarks"), help="where the runs live")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--repeat", type=int, default=1, help="runs with the same seed, compared (default: 1)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def run_once(recipe: str, run_dir: Path, overrides: list[str]) -> tuple[dict[str, Any], float]:
    """The report of one run, and its wall seconds; a broken budget is a result to record, not an error."""
    sets = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "bertcompress.cli", "run", recipe, "--run-dir", str(run_dir), *sets]
    started = time.perf_counter()
    code = subprocess.run(command, check=False).returncode
    if code not in (0, EXIT_BUDGET_BROKEN):
        raise SystemExit(code)
    seconds = time.perf_counter() - started
    report: dict[str, Any] = json.loads((run_dir / "report" / "report.json").read_text(encoding="utf-8"))
    return report, seconds


def outcome(report: dict[str, Any]) -> dict[str, Any]:
    """What the same seed must give again: each model's architecture and metrics (times differ)."""
    return {
        model["role"]: {"architecture": model["architecture"], "metrics": model["metrics"]}
        for model in report["models"]
    }


def compare(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether every run chose the same winner and measured the same metrics as the first."""
    outcomes = [outcome(report) for report in reports]
    winners = [found.get("winner", {}).get("architecture") for found in outcomes]
    return {
        "runs": len(reports),
        "same_winner": len(set(winners)) == 1,
        "same_metrics": all(found == outcomes[0] for found in outcomes),
        "outcomes": outcomes,
    }


def main() -> None:
    """Run, compare, and write the record."""
    arguments = parse_arguments()
    name = arguments.name or Path(arguments.recipe).stem
    reports: list[dict[str, Any]] = []
    seconds: list[float] = []
    for number in range(1, arguments.repeat + 1):
        folder = arguments.run_dir / (name if arguments.repeat == 1 else f"{name}-{number}")
        report, elapsed = run_once(arguments.recipe, folder, arguments.overrides)
        reports.append(report)
        seconds.append(round(elapsed, 1))
    first = reports[0]
    record: dict[str, Any] = {
        "name": name,
        **provenance("run_recipe.py", sys.argv[1:], [report["seed"] for report in reports]),
        # Of this call: a run folder that was there already hands back its finished stages at once.
        "wall_seconds": seconds,
        "stages": first.get("stages", []),
        "rows": first["task"]["rows"],
        "models": first["models"],
        "budgets": first["budgets"],
        "verdict": first["verdict"],
        "alternatives": first.get("alternatives", []),
        "race": first.get("race"),
        "benchmark": first["benchmark"],
        "repeat": compare(reports) if len(reports) > 1 else None,
    }
    write_record(arguments.results / f"{name}.json", record)
    repeat = record["repeat"]
    if repeat is not None:
        print(f"Same winner: {repeat['same_winner']}; same metrics: {repeat['same_metrics']}")


if __name__ == "__main__":
    main()
