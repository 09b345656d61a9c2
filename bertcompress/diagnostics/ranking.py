"""Ranking, judged: does the supernet order children as stand-alone training does, and better than counting?

Correlations come with bootstrap intervals over children, differences are paired, and the supernet stands
beside what costs nothing: parameters, MACs, operator counts, proxies. Why a supernet's ranking has to be
checked: Yu et al. 2020, arXiv 1902.08142; Zela et al. 2020, arXiv 2001.10422. All scores are losses."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bertcompress.diagnostics.correlation import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Estimate,
    bootstrap,
    kendall,
    pearson,
    spearman,
    top_k_regret,
)

C = TypeVar("C", bound=Sequence[Hashable])
REGRET_AT = (1, 3, 5)
FEWEST_CHILDREN = 5
RIDGE_STRENGTHS = np.logspace(-2, 3, 11)


@dataclass(frozen=True)
class Baseline:
    """A score of every child, lower for a better one, that needs no trained supernet.

    `either_sign` leaves open whether more is better, which is then read off the truth; `uses_truth` marks a
    score that was fitted on the stand-alone results of other children. Both make the baseline stronger.
    """

    name: str
    score: np.ndarray
    either_sign: bool = False
    uses_truth: bool = False


def count_baselines(
    children: Sequence[C],
    truth: np.ndarray,
    *,
    kind_of: Callable[[Any], str],
    costs: Mapping[str, Sequence[float]],
    proxies: Mapping[str, Sequence[float]],
) -> list[Baseline]:
    """The baselines of every space: costs and proxies (more is better), operator counts, their linear model.

    `truth` is (children, seeds); the linear model predicts each child from all others.
    """
    baselines = [
        Baseline(name, -np.asarray(values, dtype=float)) for name, values in {**costs, **proxies}.items()
    ]
    counts = [Counter(kind_of(operator) for operator in child) for child in children]
    for kind in sorted(set(itertools.chain.from_iterable(counts))):
        score = -np.array([count[kind] for count in counts], dtype=float)
        baselines.append(Baseline(f"number of {kind}", score, either_sign=True))
    predicted = linear_prediction(children, truth.mean(axis=1))
    return [*baselines, Baseline("linear model of operator counts", predicted, uses_truth=True)]


def linear_prediction(children: Sequence[C], truth: np.ndarray) -> np.ndarray:
    """Each child's truth (n,) by ridge regression on the operator counts of all other children.

    Leaving one out moves the mean away from it, so a space without signal gives a correlation below zero.
    """
    counts = [Counter(child) for child in children]
    operators = sorted(set(itertools.chain.from_iterable(counts)), key=str)
    features = np.array([[count[operator] for operator in operators] for count in counts], dtype=float)
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=RIDGE_STRENGTHS))
    predicted: np.ndarray = cross_val_predict(model, features, truth, cv=LeaveOneOut())
    return predicted


def mean_kendall(score: np.ndarray, truth: np.ndarray) -> float:
    """Kendall's tau against truth (n,), a mean over the columns of score (n,) or (n, supernets)."""
    return float(np.mean([kendall(column, truth) for column in _columns(score)]))


def _columns(score: np.ndarray) -> np.ndarray:
    return np.atleast_2d(score.T)  # (supernets, n)


def _as_matrix(score: np.ndarray) -> np.ndarray:
    return score.reshape(len(score), -1)  # (n, supernets)


def kendall_estimate(
    score: np.ndarray, truth: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Mean tau with its interval over children, and over supernets where score (n, supernets) has several."""
    matrix = _as_matrix(score)
    return bootstrap(
        lambda rows, nets: mean_kendall(matrix[np.ix_(rows, nets)], truth[rows]),
        matrix.shape,
        seed,
        num_resamples=num_resamples,
    )


def kendall_difference(
    first: np.ndarray,
    second: np.ndarray,
    truth: np.ndarray,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Estimate:
    """Tau of the first score minus that of the second, both on the same resampled children."""
    ours, theirs = _as_matrix(first), _as_matrix(second)

    def difference(rows: np.ndarray, our_nets: np.ndarray, their_nets: np.ndarray) -> float:
        left = mean_kendall(ours[np.ix_(rows, our_nets)], truth[rows])
        return left - mean_kendall(theirs[np.ix_(rows, their_nets)], truth[rows])

    sizes = (len(truth), ours.shape[1], theirs.shape[1])
    return bootstrap(difference, sizes, seed, num_resamples=num_resamples)


def seed_ceiling(truth: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> Estimate | None:
    """Mean tau between two seeds of the truth (n, seeds): what a perfect score of one seed reaches.

    None with a single seed. A score may pass it: it is held against the seeds' mean, which is steadier.
    """
    pairs = list(itertools.combinations(range(truth.shape[1]), 2))
    if not pairs:
        return None

    def between_seeds(rows: np.ndarray) -> float:
        return float(np.mean([kendall(truth[rows, a], truth[rows, b]) for a, b in pairs]))

    return bootstrap(between_seeds, [len(truth)], seed, num_resamples=num_resamples)


def rank_report(
    names: Sequence[str],
    truth: np.ndarray,
    score: np.ndarray,
    baselines: Sequence[Baseline],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Any]:
    """How well `score` ranks the children, beside the ceiling and the baselines, with a verdict in words.

    `truth` (children, seeds) and `score` (children,) or (children, supernets) are losses. Plain values.

    Raises:
        ValueError: fewer than five children, or shapes that do not go together.
    """
    if len(names) < FEWEST_CHILDREN:
        raise ValueError(f"{len(names)} children; {FEWEST_CHILDREN} or more are needed to speak of a ranking")
    if not len(names) == len(truth) == len(score) or truth.ndim != 2:
        raise ValueError(
            f"{len(names)} children, truth {truth.shape}, score {score.shape}: do not go together"
        )
    mean = truth.mean(axis=1)
    supernet = _described(score, mean, seed, num_resamples)
    rows = [_baseline_row(baseline, score, mean, seed, num_resamples) for baseline in baselines]
    rows.sort(key=lambda row: -row["kendall"]["value"])
    ceiling = seed_ceiling(truth, seed=seed, num_resamples=num_resamples)
    words, warnings = verdict(supernet, rows)
    return {
        "num_children": len(names),
        "num_seeds": truth.shape[1],
        "confidence": CONFIDENCE,
        "verdict": words,
        "warnings": warnings,
        "supernet": supernet,
        "ceiling": None if ceiling is None else ceiling.to_dict(),
        "baselines": rows,
        "children": [
            {"child": name, "score": float(np.mean(ours)), "truth": [float(value) for value in theirs]}
            for name, ours, theirs in zip(names, _as_matrix(score), truth, strict=True)
        ],
    }


def _described(score: np.ndarray, truth: np.ndarray, seed: int, num_resamples: int) -> dict[str, Any]:
    columns = _columns(score)
    regrets = {
        str(k): float(np.mean([top_k_regret(column, truth, k) for column in columns])) for k in REGRET_AT
    }
    return {
        "kendall": kendall_estimate(score, truth, seed=seed, num_resamples=num_resamples).to_dict(),
        "spearman": float(np.mean([spearman(column, truth) for column in columns])),
        "pearson": float(np.mean([pearson(column, truth) for column in columns])),
        # A child drawn blindly is this much worse than the best.
        "chance_regret": float(truth.mean() - truth.min()),
        "regret": regrets,
    }


def _baseline_row(
    baseline: Baseline, score: np.ndarray, truth: np.ndarray, seed: int, num_resamples: int
) -> dict[str, Any]:
    flipped = baseline.either_sign and kendall(baseline.score, truth) < 0
    values = -baseline.score if flipped else baseline.score
    difference = kendall_difference(score, values, truth, seed=seed, num_resamples=num_resamples)
    return {
        "name": baseline.name + (" (fewer is better)" if flipped else ""),
        "uses_truth": baseline.uses_truth,
        "sign_from_truth": baseline.either_sign,
        **_described(values, truth, seed, num_resamples),
        "difference": difference.to_dict(),
    }


def verdict(supernet: Mapping[str, Any], baselines: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Whether the supernet is worth using on this space, in words, and a warning a baseline that beats it."""
    tau = supernet["kendall"]
    warnings = [
        f"{row['name']} ranks these children better than the supernet: tau {_interval(row['kendall'])} "
        f"against {_interval(tau)}" + (" (fitted on stand-alone results)" if row["uses_truth"] else "")
        for row in baselines
        if row["difference"]["value"] < 0
    ]
    ranked = f"Kendall's tau {_interval(tau)} against stand-alone training"
    if tau["low"] <= 0:
        return f"Not worth using here: the supernet's order cannot be told from chance ({ranked}).", warnings
    if not baselines:
        return f"The supernet ranks better than chance ({ranked}); no baseline was tried.", warnings
    best = max(baselines, key=lambda row: row["kendall"]["value"])
    beside = f"the best baseline, {best['name']}, has {_interval(best['kendall'])}"
    if best["difference"]["high"] < 0:
        return f"Not worth using here: {beside}; the supernet {ranked}.", warnings
    if best["difference"]["low"] > 0:
        return f"Worth using: {ranked}; {beside}, and the difference is clear of zero.", warnings
    gap = _interval(best["difference"])
    return (
        f"Undecided: {ranked}; {beside}; the difference of {gap} may be noise. "
        "More children would tell, and until then the baseline is the cheaper choice.",
        warnings,
    )


def _interval(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
