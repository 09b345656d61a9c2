"""How fast budgets are answered, for 24 positions x 12 operators and 3 costs.

Timed are the proven optimum of additive scores and, where nothing meets the budgets, the proof of it with the
nearest values that can be met.

    python benchmarks/exact_speed.py
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from record import RESULTS, provenance, write_record

from bertcompress.errors import BudgetError
from bertcompress.search import Budgets, Cost, check_feasible
from bertcompress.search.additive import additive_costs
from bertcompress.search.integer_program import Interval, solve
from bertcompress.space import Architecture, Child, Dimensions, SearchSpace

T = TypeVar("T")
OPERATORS = (
    *("mha12", "mha6", "mha3", "mha1"),
    *("ffn1536", "ffn768", "ffn384", "ffn192"),
    *("conv3", "conv5", "conv7", "identity"),
)
NUM_POSITIONS = 24
# Of the way from the least that any child costs to the mean of all: from hardly reachable to loose.
TIGHTNESS = (0.3, 0.5, 0.7, 0.9)
SEQUENCE_LENGTH = 32


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="random latencies and scores (default: 10)")
    parser.add_argument("--output", type=Path, default=RESULTS / "exact-speed.json")
    return parser.parse_args(words)


def make_space() -> SearchSpace:
    """24 positions with the same 12 operators, at the width of MiniLM."""
    dimensions = Dimensions(
        vocab_size=30_522, hidden_size=384, embedding_size=128, head_size=32, num_labels=2, pooling="mean"
    )
    return SearchSpace.uniform(dimensions, NUM_POSITIONS, OPERATORS)


def make_cost_of(space: SearchSpace, generator: np.random.Generator) -> Callable[[Child], Cost]:
    """Parameters, MACs, and a latency that goes with the MACs up to a random factor an operator."""
    factor = {operator: generator.uniform(0.5, 2.0) for operator in space.choices[0]}
    macs_a_ms = 5e6

    def cost_of(child: Child) -> Cost:
        architecture = Architecture(space.dimensions, child)
        alone = [Architecture(space.dimensions, (o,)).macs(SEQUENCE_LENGTH) for o in child]
        latency_ms = sum(factor[o] * macs / macs_a_ms for o, macs in zip(child, alone, strict=True))
        return Cost.of(
            num_parameters=architecture.num_parameters,
            macs=architecture.macs(SEQUENCE_LENGTH),
            latency_ms=latency_ms,
        )

    return cost_of


def make_scores(space: SearchSpace, generator: np.random.Generator) -> list[np.ndarray]:
    """Contributions that favour large operators, unlike at every position."""
    sizes = np.array([Architecture(space.dimensions, (o,)).num_parameters for o in space.choices[0]])
    gain = np.log(sizes - sizes.min() + 1e4)
    return [-gain * generator.uniform(0.5, 1.5) + generator.normal(0, 0.5, len(sizes)) for _ in space.choices]


def timed(function: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What the function gives, with wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    value = function()
    return value, {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def time_seed(space: SearchSpace, seed: int) -> list[dict[str, Any]]:
    """Answers for one random table of costs and scores, budgets from tight to loose to impossible."""
    generator = np.random.default_rng(seed)
    cost_of, scores = make_cost_of(space, generator), make_scores(space, generator)
    costs = additive_costs(space, cost_of, random.Random(seed))
    least = costs.constant + sum(rows.min(axis=0) for rows in costs.operators)
    mean = costs.constant + sum(rows.mean(axis=0) for rows in costs.operators)
    names = cost_of(space.smallest()).names
    rows = []
    for tightness in TIGHTNESS:
        limits = least + tightness * (mean - least)
        ranges = [Interval(upper=float(limit)) for limit in limits]
        choice, seconds = timed(lambda ranges=ranges: solve(scores, costs, ranges))
        rows.append({"question": f"optimum at {tightness}", "answered": choice is not None, **seconds})
    impossible = {
        "one budget below the least": {"latency_ms": 0.01, "num_parameters": float(mean[0])},
        "two that exclude each other": {
            "num_parameters": (float(mean[0]), None),
            "latency_ms": float(least[2] + 0.02 * (mean[2] - least[2])),
            "macs": float(mean[1]),
        },
    }
    for words, limits in impossible.items():
        budgets = Budgets.of(**limits)
        message, seconds = timed(lambda budgets=budgets: explain(space, cost_of, budgets))
        rows.append({"question": words, "answered": message is not None, "message": message, **seconds})
        ranges = [Interval(lower, upper) for _, lower, upper in budgets.bounds(names)]
        assert solve(scores, costs, ranges) is None, "the two programs disagree"
    return rows


def explain(space: SearchSpace, cost_of: Callable[[Child], Cost], budgets: Budgets) -> str | None:
    """The message that names the nearest feasible values; None when a child fits."""
    try:
        check_feasible(space, cost_of, budgets, random.Random(0))
    except BudgetError as error:
        return str(error)
    return None


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Median and worst seconds of each question over the seeds, and how many were answered as expected."""
    questions = dict.fromkeys(row["question"] for row in rows)
    found = {}
    for question in questions:
        own = [row for row in rows if row["question"] == question]
        found[question] = {
            "asked": len(own),
            "answered": sum(row["answered"] for row in own),
            **{
                f"{clock}_seconds": {
                    "median": float(np.median([row[clock] for row in own])),
                    "worst": max(row[clock] for row in own),
                }
                for clock in ("wall", "processor")
            },
        }
    return found


def main() -> None:
    """Time all questions and write the record."""
    arguments = parse_arguments()
    space = make_space()
    seeds = list(range(arguments.seeds))
    rows = [row for seed in seeds for row in time_seed(space, seed)]
    summary = summarise(rows)
    record = {
        "name": arguments.output.stem,
        **provenance(Path(__file__).name, sys.argv[1:], seeds),
        "num_positions": NUM_POSITIONS,
        "operators": OPERATORS,
        "costs": ["num_parameters", "macs", "latency_ms"],
        "questions": summary,
        "messages": {row["question"]: row["message"] for row in reversed(rows) if "message" in row},
        "worst_wall_seconds": max(row["wall"] for row in rows),
        "worst_processor_seconds": max(row["processor"] for row in rows),
    }
    write_record(arguments.output, record)
    for question, found in summary.items():
        wall = found["wall_seconds"]
        print(f"{question}: median {wall['median']:.3f} s, worst {wall['worst']:.3f} s")


if __name__ == "__main__":
    main()
