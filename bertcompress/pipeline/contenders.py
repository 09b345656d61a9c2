"""All that a user could serve, as rows of the report: the shipped model beside everything cheaper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from bertcompress.files import read_json
from bertcompress.pipeline.costs import LATENCY
from bertcompress.pipeline.entrants import DIVERSE, HAND_DESIGN, STATIC, SUPERNET
from bertcompress.pipeline.run import Run

KIND_OF_ORIGIN = {
    SUPERNET: "search winner",
    DIVERSE: "search winner",
    HAND_DESIGN: "hand design",
    STATIC: "static",
}
CONFIDENCE = 0.95


def contender_rows(run: Run, models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the alternatives: who was trained in full, the linear model, the teacher in int8."""
    race = read_json(run.path("student", "race.json"))
    measured = {row["architecture"]: row for row in read_json(run.path("search", "search.json"))["finalists"]}
    exported = {model["architecture"]: model for model in models}
    rows = [
        _entrant_row(run, placing, measured[placing["architecture"]], exported.get(placing["architecture"]))
        for placing in race["placings"]
        if placing["share"] == 1
    ]
    for row in rows:
        row["shipped"] = row["architecture"] == race["winner"]
    return [*rows, _linear_row(run), *_teacher_rows(models, run.task.metric_name)]


def _entrant_row(
    run: Run, placing: Mapping[str, Any], found: Mapping[str, Any], model: Mapping[str, Any] | None
) -> dict[str, Any]:
    precision = run.conditions.precision
    file = {} if model is None else model["files"][precision]
    correct = placing["metrics"]["test_correct"]
    return {
        "name": placing["architecture"],
        "kind": KIND_OF_ORIGIN[placing["origin"]],
        "architecture": placing["architecture"],
        "metric": placing["metrics"]["test"][run.task.metric_name],
        "interval": _interval(correct),
        "p50_ms": file.get("p50_ms", found["measured"][LATENCY]),
        "size_mib": file.get("size_mib"),
        "num_parameters": int(found["measured"]["num_parameters"]),
        "within_budgets": found["fits"],
        "note": precision,
        "test_correct": correct,
    }


def _linear_row(run: Run) -> dict[str, Any]:
    found = read_json(run.path("alternatives", "linear.json"))
    return {
        "name": "tf-idf + logistic regression",
        "kind": "linear",
        "metric": found["metric"],
        "interval": _interval(found["test_correct"]),
        "p50_ms": found["p50_ms"],
        "size_mib": found["size_mib"],
        "num_parameters": found["num_parameters"],
        "within_budgets": _linear_fits(run, found),
        "note": "from text to label by scikit-learn; reported, never shipped",
        "test_correct": found["test_correct"],
    }


def _linear_fits(run: Run, found: Mapping[str, Any]) -> bool:
    """Whether the linear model keeps every budget that says something of it."""
    return all(
        budget.overshoot(found[budget.name]) == 0.0 for budget in run.budgets.limits if budget.name in found
    ) and all(
        budget.overshoot(found["p50_ms"]) == 0.0
        for budget in run.budgets.limits
        if budget.name.startswith(LATENCY)
    )


def _teacher_rows(models: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    teacher = next(model for model in models if model["role"] == "teacher")
    file = teacher["files"].get("int8")
    if file is None:
        return []
    broken = [budget["name"] for budget in teacher["budgets"] if not budget["met"]]
    return [
        {
            "name": "teacher in int8",
            "kind": "teacher int8",
            "architecture": teacher["architecture"],
            "metric": file[f"test_{metric}"],
            "p50_ms": file["p50_ms"],
            "size_mib": file["size_mib"],
            "num_parameters": teacher["num_parameters"],
            "within_budgets": not broken,
            "note": f"int8, over {' and '.join(broken)}" if broken else "int8",
        }
    ]


def _interval(correct: Sequence[int]) -> list[float]:
    """The Wilson interval of an accuracy."""
    found = binomtest(sum(correct), len(correct)).proportion_ci(CONFIDENCE, "wilson")
    return [float(found.low), float(found.high)]
