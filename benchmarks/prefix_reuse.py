"""Children a minute, with and without reuse of prefixes, in one evolution run: results/NAME.json.

    python benchmarks/prefix_reuse.py runs/reviews-mini
    python benchmarks/prefix_reuse.py runs/sst2-small --generation-size 32 --cache-mib 4096

Every generation of a search on the run's trained supernet is scored both ways, one after the other, and who
goes first alternates; so neighbours of the machine slow both alike. Plain evaluation is `child_logits`, as in
the training of the supernet. Scores must be equal, and the bound on memory kept, or the command fails.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, provenance, write_record

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.scoring import MIB, sample_rows
from bertcompress.pipeline.supernets import load_supernet
from bertcompress.recipe import load_recipe
from bertcompress.search import SEARCHERS, Searcher, sampler_within, search
from bertcompress.space import IDENTITY, Child, Operator, placed_steps
from bertcompress.supernet import SuperBert
from bertcompress.supernet.evaluation import SupernetEvaluator
from bertcompress.supernet.train import child_logits

Logits = Callable[[Child], torch.Tensor]
Score = Callable[[Child], float]


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder whose supernet is trained")
    parser.add_argument("--name", help="the record's name (default: prefix-reuse-RUN)")
    parser.add_argument("--searcher", default="evolution", choices=sorted(SEARCHERS))
    parser.add_argument("--num-evaluations", type=int, help="children (default: the recipe's)")
    parser.add_argument("--generation-size", type=int, help="children at a time (default: the recipe's)")
    parser.add_argument("--cache-mib", type=int, help="bound on memory (default: the recipe's)")
    parser.add_argument("--without-budgets", action="store_true", help="let every child of the space fit")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


class Comparison:
    """Scores each generation twice and keeps the seconds; what it tells the search is the plain score."""

    def __init__(self, plain: Score, reuse: Score) -> None:
        self._scores = {"plain": plain, "reuse": reuse}
        self.seconds: dict[str, list[float]] = {"plain": [], "reuse": []}
        self.cpu_seconds = {"plain": 0.0, "reuse": 0.0}
        self.sizes: list[int] = []
        self.children: list[Child] = []
        self.num_equal = 0
        self.largest_difference = 0.0

    def score_many(self, children: Sequence[Child]) -> Iterator[tuple[Child, float]]:
        ordered = sorted(children, key=placed_steps)
        found: dict[str, list[float]] = {}
        turns = ["plain", "reuse"] if len(self.sizes) % 2 else ["reuse", "plain"]
        for name in turns:
            start, cpu_start = time.perf_counter(), time.process_time()
            found[name] = [self._scores[name](child) for child in ordered]
            self.seconds[name].append(time.perf_counter() - start)
            self.cpu_seconds[name] += time.process_time() - cpu_start
        self.sizes.append(len(ordered))
        self.children.extend(ordered)
        pairs = list(zip(found["plain"], found["reuse"], strict=True))
        self.num_equal += sum(a == b for a, b in pairs)
        self.largest_difference = max(self.largest_difference, *(abs(a - b) for a, b in pairs))
        yield from zip(ordered, found["plain"], strict=True)

    def summary(self) -> dict[str, Any]:
        """Rates, the spread of their ratio over the generations, and how equal the scores were."""
        count = len(self.children)
        rates = {name: 60 * count / sum(seconds) for name, seconds in self.seconds.items()}
        ratios = [a / b for a, b in zip(self.seconds["plain"], self.seconds["reuse"], strict=True)]
        return {
            "num_children": count,
            "num_generations": len(self.sizes),
            "children_per_minute": {name: round(rate, 1) for name, rate in rates.items()},
            "ratio": round(rates["reuse"] / rates["plain"], 3),
            # Of processor seconds: what an idle machine would show.
            "cpu_ratio": round(self.cpu_seconds["plain"] / self.cpu_seconds["reuse"], 3),
            "median_ratio_of_generations": round(statistics.median(ratios), 3),
            "smallest_and_largest_ratio": [round(min(ratios), 3), round(max(ratios), 3)],
            "num_equal_scores": self.num_equal,
            "largest_score_difference": self.largest_difference,
        }


def count_steps(children: Sequence[Child]) -> dict[str, Any]:
    """Operators applied by plain evaluation, and the fewest that any exact reuse has to apply.

    `shape_bound` would be the ratio if operators were all that costs, and all of one cost.
    """
    paths = [placed_steps(child) for child in children]
    asked = sum(map(len, paths))
    distinct = len({path[: end + 1] for path in paths for end in range(len(path))})
    return {"asked": asked, "distinct": distinct, "shape_bound": round(asked / max(1, distinct), 3)}


def most_possible(children: Sequence[Child], milliseconds: dict[str, float]) -> float:
    """The ratio if the embeddings were computed once, each distinct prefix once, and a head for every child.

    No exact reuse of prefixes can do better on these children, whatever its memory.
    """
    paths = [placed_steps(child) for child in children]
    prefixes = {path[: end + 1] for path in paths for end in range(len(path))}
    heads = len(children) * milliseconds["head"]
    plain = len(children) * milliseconds["embeddings"] + heads
    plain += sum(milliseconds[operator.name] for path in paths for _, operator in path)
    reuse = milliseconds["embeddings"] + heads + sum(milliseconds[path[-1][1].name] for path in prefixes)
    return round(plain / reuse, 3)


def time_parts(supernet: SuperBert, split: TokenizedSplit, operators: Sequence[Operator]) -> dict[str, float]:
    """Processor milliseconds (median) on the split: embeddings, head, and each operator at position 0."""
    evaluator = SupernetEvaluator(supernet, split, limit_bytes=2**40)
    prefixes, parts = evaluator.prefixes, {}
    _median_ms(lambda: prefixes.outputs(()))  # the embeddings are kept from here on
    parts["head"] = _median_ms(lambda: prefixes.outputs(()))
    unkept = SupernetEvaluator(supernet, split, limit_bytes=0).prefixes
    parts["embeddings"] = _median_ms(lambda: unkept.outputs(())) - parts["head"]
    for operator in operators:
        if operator != IDENTITY:
            path = ((0, operator),)
            whole = _median_ms(lambda path=path: unkept.outputs(path))  # type: ignore[misc]
            parts[operator.name] = whole - parts["head"] - parts["embeddings"]
    return {name: round(value, 2) for name, value in parts.items()}


def _median_ms(call: Callable[[], Any], repeats: int = 5) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return 1000 * statistics.median(seconds)


def compare(run: Run, arguments: argparse.Namespace) -> dict[str, Any]:
    """The search, scored both ways."""
    chosen, space = run.recipe.search, run.space
    supernet = load_supernet(run).eval()
    split = sample_rows(run.student_splits["validation"], chosen.max_validation_rows, run.recipe.seed)
    cache_mib = chosen.cache_mib if arguments.cache_mib is None else arguments.cache_mib
    evaluator = SupernetEvaluator(supernet, split, limit_bytes=cache_mib * MIB)
    comparison = Comparison(
        lambda child: run.task.evaluate(child_logits(supernet, child, split).numpy(), split.labels)["loss"],
        lambda child: run.task.loss(evaluator.logits(child).numpy(), split.labels),
    )
    feasible = tuple(Operator.parse(name) for name in run.latency["feasible_child"])
    budgets = type(run.budgets)() if arguments.without_budgets else run.budgets
    sample = sampler_within(space, lambda child: budgets.fits(run.cost_of(child)), feasible)
    searcher: Searcher = SEARCHERS[arguments.searcher](
        space, sample, run.cost_of, budgets, chosen.population_size
    )
    result = search(
        space,
        searcher,
        score_many=comparison.score_many,
        cost_of=run.cost_of,
        budgets=budgets,
        num_evaluations=arguments.num_evaluations or chosen.num_evaluations,
        rng=random.Random(arguments.seed),
        seeds=[feasible],
        ask_size=arguments.generation_size or chosen.generation_size,
    )
    cache, prefixes = evaluator.prefixes.cache, evaluator.prefixes
    milliseconds = time_parts(supernet, split, space.choices[0])
    return {
        "searcher": arguments.searcher,
        "num_positions": space.num_positions,
        "operators": [operator.name for operator in space.choices[0]],
        "num_rows": len(split),
        "num_tokens": int(split.lengths.sum()),
        "threads": arguments.threads,
        **comparison.summary(),
        "stopped_because": result.stopped_because,
        "steps": {**count_steps(comparison.children), "computed": prefixes.num_steps_computed},
        "memory_mib": {"bound": cache_mib, "peak": round(cache.peak_bytes / MIB, 1)},
        "milliseconds": milliseconds,
        "most_possible_ratio": most_possible(comparison.children, milliseconds),
    }


def main() -> None:
    """Compare, write the record, and fail where reuse was not exact or not bounded."""
    words = sys.argv[1:]
    arguments = parse_arguments(words)
    torch.set_num_threads(arguments.threads)
    run = Run(load_recipe(str(arguments.run / "recipe.yaml"), []), RunFolder(arguments.run), None)
    name = arguments.name or f"prefix-reuse-{arguments.run.name}"
    outcome = compare(run, arguments)
    record = {"name": name, **provenance("prefix_reuse.py", words, [arguments.seed]), **outcome}
    write_record(arguments.results / f"{name}.json", record)
    for key in ("children_per_minute", "ratio", "cpu_ratio", "most_possible_ratio", "steps", "memory_mib"):
        print(f"{key}: {outcome[key]}")
    memory = outcome["memory_mib"]
    if outcome["largest_score_difference"] > 1e-6 or memory["peak"] > memory["bound"]:
        raise SystemExit("reuse is not exact, or takes more memory than it may")


if __name__ == "__main__":
    main()
