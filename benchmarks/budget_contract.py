"""Are budgets kept? Random ones, searched on one trained supernet, exported and timed: results/NAME.json.

    python benchmarks/budget_contract.py runs/sst2-small
    python benchmarks/budget_contract.py runs/sst2-small --seed 1 --set search.num_evaluations=60

Latency limits are drawn evenly in their logarithm between the smallest that the space reaches and the
teacher's; every second budget also limits parameters, drawn evenly between the smallest and the teacher's.
Limits that no child meets together are drawn again. Winners carry the supernet's weights into their files,
which are timed in turns with each other and with the teacher's, afresh: nothing measured before is read. The
command fails where a file is over its budget, or further from its prediction than a tenth.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record import RESULTS, provenance, write_record
from rich.console import Console

from bertcompress.errors import BudgetError
from bertcompress.export.size import MIB, estimate_size_mib
from bertcompress.measure import CLOCKS, best_clock, measure_files
from bertcompress.pipeline.costs import LATENCY
from bertcompress.pipeline.many_budgets import open_run, search_many
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.supernets import load_supernet
from bertcompress.pipeline.timing import export_architecture, export_model
from bertcompress.search import Budgets, check_feasible
from bertcompress.search.additive import CountProgram, reach
from bertcompress.space import Operator
from bertcompress.supernet import extract

MOST_DRAWS = 1000
ALLOWED_ERROR = 0.1
TEACHER = "teacher"


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder whose supernet is trained")
    parser.add_argument("--name", help="the record's name (default: budget-contract-RUN)")
    parser.add_argument("--num-budgets", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the budgets (the search keeps the recipe's)")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed at least so long a file")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="search.KEY=VALUE")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def draw_budgets(run: Run, number: int, rng: random.Random) -> list[Budgets]:
    """Feasible budgets; the draws that were not are thrown away."""
    programs = CountProgram.of_parts(run.space, run.cost_of, Budgets(), rng)
    fastest, fewest = reach(programs, LATENCY)[0], reach(programs, "num_parameters")[0]
    teacher = run.teacher_architecture.num_parameters
    found: list[Budgets] = []
    for _ in range(MOST_DRAWS):
        if len(found) == number:
            return found
        latency_ms = math.exp(rng.uniform(math.log(fastest), math.log(run.latency["teacher_ms"][LATENCY])))
        limits: dict[str, float] = {LATENCY: latency_ms}
        if len(found) % 2:
            limits["num_parameters"] = int(rng.uniform(fewest, max(fewest, teacher)))
        budgets = Budgets.of(**limits)
        try:
            check_feasible(run.space, run.cost_of, budgets, rng)
        except BudgetError:
            continue
        found.append(budgets)
    raise SystemExit(f"{MOST_DRAWS} draws gave {len(found)} budgets that a child meets")


def export_winners(run: Run, winners: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Path]:
    """The winners with the supernet's weights, and the teacher with any, as files at the run's precision."""
    supernet = load_supernet(run).eval()
    paths = {name: folder / name / "model.onnx" for name in (TEACHER, *winners)}
    for name, path in paths.items():
        path.parent.mkdir()
        if name == TEACHER:
            export_architecture(run.teacher_architecture, path, run.conditions)
        else:
            child = tuple(Operator.parse(word) for word in winners[name]["placed"])
            export_model(
                extract(supernet, child), {run.conditions.precision: path}, provider=run.conditions.provider
            )
    return paths


def check(run: Run, outcomes: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Each budget with what its winner's file takes now, and by how much the prediction missed it."""
    winners = {str(index): row["winner"] for index, row in enumerate(outcomes) if row["winner"]}
    with tempfile.TemporaryDirectory(prefix="bertcompress-contract-") as folder:
        paths = export_winners(run, winners, Path(folder))
        sizes = {name: path.stat().st_size / MIB for name, path in paths.items()}
        summaries = measure_files(
            paths,
            run.conditions,
            vocab_size=run.space.dimensions.vocab_size,
            min_seconds=seconds,
            max_seconds=4 * seconds,
            percentiles=(50,),
            clock=CLOCKS[best_clock(run.conditions)],
        )
    rows = []
    for index, row in enumerate(outcomes):
        described = {"budgets": row["budgets"], "winner": None, "problem": row["problem"], "kept": False}
        if row["winner"]:
            timed, winner = summaries[str(index)], row["winner"]
            architecture = run.space.architecture(tuple(map(Operator.parse, winner["placed"])))
            measured = {**winner["predicted"], LATENCY: timed.p50_ms}
            limits = Budgets.from_list(row["budgets"])
            described |= {
                "winner": winner["architecture"],
                "score": winner["score"],
                "predicted_ms": winner["predicted_ms"],
                "measured_in_search_ms": winner["measured_ms"],
                "file": timed.to_dict(),
                "prediction_error": winner["predicted_ms"] / timed.p50_ms - 1,
                "size_mib": sizes[str(index)],
                "predicted_size_mib": estimate_size_mib(architecture, run.conditions.precision),
                "num_parameters": architecture.num_parameters,
                "kept": all(budget.overshoot(measured[budget.name]) == 0.0 for budget in limits.limits),
            }
        rows.append(described)
    then, now = run.latency["teacher_ms"][LATENCY], summaries[TEACHER].p50_ms
    print(f"teacher: {then:.3g} ms when the budgets were settled, {now:.3g} ms now")
    return [{**row, "teacher_ms": {"settled": then, "now": now}} for row in rows]


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """In how many of the budgets the file kept what was asked, and came near its prediction."""
    errors = [abs(row["prediction_error"]) for row in rows if row["winner"]]
    return {
        "num_budgets": len(rows),
        "kept": sum(row["kept"] for row in rows),
        "within_a_tenth_of_the_prediction": sum(error <= ALLOWED_ERROR for error in errors),
        "largest_prediction_error": max(errors, default=None),
        "mean_prediction_error": sum(errors) / len(errors) if errors else None,
    }


def main() -> None:
    """Draw, search, export, time, write the record, and fail where a budget or a prediction is not kept."""
    words = sys.argv[1:]
    arguments = parse_arguments(words)
    run = open_run(arguments.run, arguments.overrides, Console())
    name = arguments.name or f"budget-contract-{arguments.run.resolve().name}"
    with run.folder.lock():
        drawn = draw_budgets(run, arguments.num_budgets, random.Random(arguments.seed))
        found = search_many(run, drawn)
        rows = check(run, found["combinations"], arguments.seconds)
    outcome = summary(rows)
    record = {
        "name": name,
        **provenance("budget_contract.py", words, [arguments.seed, run.recipe.seed]),
        "conditions": str(run.conditions),
        "clock": best_clock(run.conditions),
        "searcher": run.recipe.search.searcher,
        "num_scored": found["num_scored"],
        "latency_table": run.latency_table.to_dict(),
        **outcome,
        "budgets": rows,
    }
    write_record(arguments.results / f"{name}.json", record)
    print(outcome)
    if outcome["kept"] < len(rows) or outcome["within_a_tenth_of_the_prediction"] < len(rows):
        raise SystemExit("a budget was broken, or a prediction is off by more than a tenth")


if __name__ == "__main__":
    main()
