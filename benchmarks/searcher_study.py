"""Searchers side by side on a table: regrets at equal evaluations and at equal time, and who beats chance."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu
from tabular_space import TabularSpace

from bertcompress.search import SEARCHERS, Budgets, check_feasible, one_by_one, sampler_within, search
from bertcompress.space import Child

BASELINE = "random"
SIGNIFICANCE = 0.05
NUM_CURVE_POINTS = 60


@dataclass(frozen=True)
class Trace:
    """One search: the best loss after each evaluation, and the seconds by then.

    Seconds are those that the table gives for scoring, added up, and the searcher's own, on one thread.
    """

    best: tuple[float, ...]
    seconds: tuple[float, ...]
    own_seconds: float

    def best_at(self, seconds: float) -> float:
        """The best loss within so many seconds; the first loss when none was scored by then."""
        done = sum(at <= seconds for at in self.seconds)
        return self.best[max(done, 1) - 1]


def run_searcher(
    name: str, table: TabularSpace, budgets: Budgets, *, seed: int, num_evaluations: int, population_size: int
) -> Trace:
    """Search the table once, to `num_evaluations` different networks or to its end."""
    fitting = check_feasible(table.space, table.cost_of, budgets, random.Random(seed))
    sample = sampler_within(table.space, lambda child: budgets.fits(table.cost_of(child)), fitting)
    recorder = _Recorder(table)
    search(
        table.space,
        SEARCHERS[name](table.space, sample, table.cost_of, budgets, population_size),
        score_many=one_by_one(recorder.score),
        cost_of=table.cost_of,
        budgets=budgets,
        num_evaluations=num_evaluations,
        rng=random.Random(seed),
    )
    return Trace(tuple(recorder.best), tuple(recorder.seconds), recorder.own_seconds)


class _Recorder:
    """Scores children from the table and keeps the best loss and the time after each."""

    def __init__(self, table: TabularSpace) -> None:
        self._table = table
        self._since = time.process_time()
        self.best: list[float] = []
        self.seconds: list[float] = []
        self.own_seconds = 0.0

    def score(self, child: Child) -> float:
        own = time.process_time() - self._since
        row = self._table.row(child)
        self.own_seconds += own
        self.best.append(min([row.loss, *self.best[-1:]]))
        self.seconds.append(sum(self.seconds[-1:]) + own + row.cpu_seconds)
        self._since = time.process_time()
        return row.loss


def summarise(traces: Mapping[str, Sequence[Trace]], optimum: float) -> dict[str, Any]:
    """Regret to the optimum of every searcher, at equal evaluations and at equal seconds, against chance.

    Equal seconds are those of the shortest search, so that every searcher was still at work by then.
    """
    num_evaluations = min(len(trace.best) for runs in traces.values() for trace in runs)
    seconds = min(trace.seconds[-1] for runs in traces.values() for trace in runs)
    regrets = {name: _regrets(runs, optimum, num_evaluations, seconds) for name, runs in traces.items()}
    searchers = {
        name: {
            **{f"{measure}_regret": _spread(values) for measure, values in found.items()},
            "found_optimum": float(np.mean([value <= 1e-12 for value in found["final"]])),
            "own_seconds": _spread([trace.own_seconds for trace in traces[name]]),
            "against_random": {
                measure: compare(values, regrets[BASELINE][measure]) for measure, values in found.items()
            },
            "curve": _curve(traces[name], optimum, num_evaluations),
        }
        for name, found in regrets.items()
    }
    return {
        "num_evaluations": num_evaluations,
        "equal_seconds": seconds,
        "optimum": optimum,
        "searchers": searchers,
        "beat_random": {
            measure: [
                name
                for name, found in searchers.items()
                if name != BASELINE and found["against_random"][measure]["verdict"] == "better"
            ]
            for measure in ("final", "mean", "equal_time")
        },
    }


def _regrets(
    runs: Sequence[Trace], optimum: float, num_evaluations: int, seconds: float
) -> dict[str, list[float]]:
    """By seed: at the last evaluation, the mean over all evaluations, and at the equal seconds."""
    return {
        "final": [trace.best[num_evaluations - 1] - optimum for trace in runs],
        "mean": [float(np.mean(trace.best[:num_evaluations])) - optimum for trace in runs],
        "equal_time": [trace.best_at(seconds) - optimum for trace in runs],
    }


def compare(values: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    """Whether the values are smaller than the baseline's: two one-sided Mann-Whitney tests over the seeds."""
    better = float(mannwhitneyu(values, baseline, alternative="less").pvalue)
    worse = float(mannwhitneyu(values, baseline, alternative="greater").pvalue)
    verdict = "better" if better < SIGNIFICANCE else "worse" if worse < SIGNIFICANCE else "no difference"
    return {
        "difference": float(np.mean(values) - np.mean(baseline)),
        "p_better": better,
        "p_worse": worse,
        "verdict": verdict,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "p10": float(np.quantile(values, 0.1)),
        "p90": float(np.quantile(values, 0.9)),
    }


def _curve(runs: Sequence[Trace], optimum: float, num_evaluations: int) -> list[dict[str, float]]:
    points = np.unique(np.linspace(1, num_evaluations, NUM_CURVE_POINTS).round().astype(int))
    return [
        {
            "evaluations": int(point),
            "seconds": float(np.mean([trace.seconds[point - 1] for trace in runs])),
            **_spread([trace.best[point - 1] - optimum for trace in runs]),
        }
        for point in points
    ]


def in_words(name: str, summary: Mapping[str, Any]) -> str:
    """One sentence on who beat random search on this table."""
    beat = summary["beat_random"]
    said = [
        f"{', '.join(names) if names else 'none'} {words}"
        for names, words in (
            (beat["final"], f"after {summary['num_evaluations']} evaluations"),
            (beat["mean"], "on the way there"),
            (beat["equal_time"], f"after {summary['equal_seconds']:.3g} s"),
        )
    ]
    return f"{name}: better than random (p < {SIGNIFICANCE}): {'; '.join(said)}."


def draw_figure(summaries: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Regret against evaluations and against seconds, a row a table: means, and bands from p10 to p90."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(summaries), 2, figsize=(10, 3.6 * len(summaries)), squeeze=False)
    for row, (name, summary) in zip(axes, summaries.items(), strict=True):
        for axis, key, label in zip(
            row,
            ("evaluations", "seconds"),
            ("networks scored", "processor seconds of scoring and searching"),
            strict=True,
        ):
            for searcher, found in summary["searchers"].items():
                x = [point[key] for point in found["curve"]]
                style = "--" if searcher == BASELINE else "-"
                (line,) = axis.plot(x, [point["mean"] for point in found["curve"]], style, label=searcher)
                axis.fill_between(
                    x,
                    [point["p10"] for point in found["curve"]],
                    [point["p90"] for point in found["curve"]],
                    color=line.get_color(),
                    alpha=0.1,
                    linewidth=0,
                )
            axis.set(xlabel=label, ylabel="regret: loss above the optimum's", title=name, ylim=(0, None))
    axes[0, 0].legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
