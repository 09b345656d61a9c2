"""Gather what the stages found, and write the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.files import read_json
from bertcompress.latency.benchmark import origin
from bertcompress.pipeline.contenders import contender_rows
from bertcompress.pipeline.costs import LATENCY
from bertcompress.pipeline.evolved_space import evolution_finding
from bertcompress.pipeline.outcome import budget_rows
from bertcompress.pipeline.roles import roles
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.stages.vocabulary import vocabulary_words
from bertcompress.report import build_report
from bertcompress.report.verdict import verdict
from bertcompress.report.warnings import warnings
from bertcompress.space import Architecture
from bertcompress.training.log import read_curve


def write_report(run: Run) -> None:
    """Gather what the stages found into report.json, report.md and report.html."""
    build_report(report_data(run), run.path("report"))


def report_data(run: Run) -> dict[str, Any]:
    """Return everything that the report shows, judged: what was found, the warnings, and the verdict."""
    found = findings(run)
    return {**found, "warnings": warnings(found), "verdict": verdict(found)}


def findings(run: Run) -> dict[str, Any]:
    """Return what the stages found, read from their files."""
    timed = read_json(run.path("benchmark", "benchmark.json"))
    models = [_model_row(run, role, timed["at_latencies"][LATENCY]) for role in roles(run)]
    for model in models:
        model["budgets"] = budget_rows(run, model, timed["at_latencies"])
    found = read_json(run.path("search", "search.json"))
    prepared = read_json(run.path("data", "report.json"))
    return {
        "name": run.recipe.name,
        "description": run.recipe.description,
        "seed": run.recipe.seed,
        **origin(run.conditions.provider),
        "recipe": run.recipe.model_dump(mode="json"),
        "task": {
            "metric_name": run.task.metric_name,
            "label_names": list(run.task.label_names),
            "rows": prepared["rows"],
        },
        "data": {"report": prepared},
        "budgets": models[-1]["budgets"],
        "models": models,
        "alternatives": contender_rows(run, models),
        "per_class": {model["role"]: model["metrics"]["per_class"] for model in models},
        "race": read_json(run.path("student", "race.json")),
        "search": {
            "evaluated": found["evaluated"],
            "winner": models[-1]["architecture"],
            "finalists": found["finalists"],
            "searcher": run.recipe.search.searcher,
            "num_evaluations": len(found["evaluated"]),
        },
        "latency_table": run.latency_table.to_dict(),
        "training": _curves(run),
        "benchmark": {"rows": timed["rows"], "noise": timed["noise"]},
        "vocabulary": vocabulary_words(run).get("vocabulary"),
        **supernet_findings(run),
        "stages": run.folder.stage_seconds(),
        "space": {
            "choices": [[operator.name for operator in position] for position in run.space.choices],
            "num_children": run.space.num_children,
        },
    }


def supernet_findings(run: Run) -> dict[str, Any]:
    """What `interference`, `rank` and `evolve-space` found; each is missing until it was run."""
    paths = {name: run.path("supernet", f"{name}.json") for name in ("ranking", "interference")}
    found = {name: read_json(path) for name, path in paths.items() if path.exists()}
    return found | evolution_finding(run)


def _curves(run: Run) -> dict[str, list[dict[str, float]]]:
    folders = {"teacher": run.path("teacher"), "supernet": run.path("supernet")}
    folders |= {role: run.path("student", role) for role in roles(run) if role != "teacher"}
    return {name: read_curve(folder) for name, folder in folders.items()}


def _model_row(run: Run, role: str, timed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    exported = read_json(run.path("export", role, "export.json"))
    architecture = Architecture.from_dict(exported["architecture"])
    metrics_path = (
        run.path("teacher", "metrics.json")
        if role == "teacher"
        else run.path("student", role, "metrics.json")
    )
    files = {
        precision: {
            "size_mib": file["size_mib"],
            f"test_{run.task.metric_name}": file["metric"],
            "max_logit_error": file["max_logit_error"],
            "p50_ms": timed[f"{role}/{precision}"]["p50_ms"],
            "recommended": file["recommended"],
            "reason": file["reason"],
        }
        for precision, file in exported["precisions"].items()
    }
    return {
        "role": role,
        "architecture": architecture.name,
        "operators": [operator.name for operator in architecture.operators],
        "num_parameters": architecture.num_parameters,
        "macs": architecture.macs(run.conditions.sequence_length, run.conditions.batch_size),
        "metrics": read_json(metrics_path),
        "files": files,
    }


STAGE = Stage("report", ("name", "description"), ("benchmark", "alternatives"), write_report)
