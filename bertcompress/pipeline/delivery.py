"""The stages that deliver: export with verification, benchmark, and the report with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bertcompress.data.batches import epoch_batches
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.export.folder import Rows, export_folder
from bertcompress.export.optimize import Timer
from bertcompress.export.optimize import timer as interleaved_timer
from bertcompress.export.recommend import Trial
from bertcompress.export.runtime import FILE_OF
from bertcompress.export.verify import graph_logits
from bertcompress.files import read_json
from bertcompress.latency.benchmark import benchmark, origin
from bertcompress.measure import CLOCKS, Conditions, best_clock, measure_files
from bertcompress.model import CompactBertForSequenceClassification
from bertcompress.model.convert_bert import compact_from_bert
from bertcompress.pipeline.calibration import calibration_rows
from bertcompress.pipeline.costs import LATENCY, speedup_limits
from bertcompress.pipeline.evolved_space import evolution_finding
from bertcompress.pipeline.run import Run
from bertcompress.report import build_report
from bertcompress.search import Budget
from bertcompress.space import Architecture
from bertcompress.training.log import read_curve

ROLES = ("teacher", "baseline", "winner")
NUM_VERIFIED_BATCHES = 4


def roles(run: Run) -> tuple[str, ...]:
    """The models that the run delivers; the recipe may leave the baseline out."""
    return ROLES if run.recipe.student.baseline else ("teacher", "winner")


def deliverable(run: Run, role: str) -> CompactBertForSequenceClassification:
    """The trained model of a role; the teacher as the chain it is, so that all are exported alike."""
    if role == "teacher":
        return compact_from_bert(run.teacher)
    return CompactBertForSequenceClassification.from_pretrained(run.path("student", role, "model"))


def export_models(run: Run) -> None:
    """Export teacher, baseline and winner in each precision, verified, with the test metric of each file."""
    # Ids that every model embeds.
    timer = interleaved_timer(run.conditions, vocab_size=run.space.dimensions.vocab_size)
    for role in roles(run):
        run.say(f"export: {role}")
        _export(run, role, timer)


def _export(run: Run, role: str, timer: Timer) -> None:
    taught = role == "teacher"
    splits = run.splits if taught else run.student_splits
    batches, labels = _in_batches(splits["test"])

    def metric(path: Path) -> float:
        return run.task.evaluate(graph_logits(path, batches), labels)[run.task.metric_name]

    export_folder(
        deliverable(run, role),
        run.tokenizer if taught else run.student_tokenizer,
        run.task.label_names,
        run.path("export", role),
        precisions=run.recipe.export.precisions,
        max_length=run.recipe.data.max_length,
        rows=Rows(batches[:NUM_VERIFIED_BATCHES], calibration_rows(run, splits["train"])),
        trial=Trial(timer, metric, run.recipe.export.max_metric_drop, run.conditions.provider),
        about={
            "name": f"{run.recipe.name}: {role}",
            "recipe": run.recipe.name,
            "seed": str(run.recipe.seed),
            "metric": f"{run.task.metric_name} on the test split",
            "p50 at": str(run.conditions),
            **({} if taught else _vocabulary_words(run)),
        },
    )


def _vocabulary_words(run: Run) -> dict[str, str]:
    """What trimming the vocabulary did to texts that it was not trimmed to, where it was trimmed."""
    if run.kept_tokens is None:
        return {}
    found = read_json(run.path("vocabulary", "vocabulary.json"))
    test = found["texts"]["test"]
    return {
        "vocabulary": f"{len(found['kept']):,} of {found['of']:,} tokens, those of the training texts; "
        f"{test['rows_cut_otherwise']:,} of {test['rows']:,} test texts are cut into other pieces than "
        f"before, {test['tokens']:,} tokens for {test['tokens_before']:,}, "
        f"{test['unknown_tokens']:,} of them unknown (before: {test['unknown_tokens_before']:,})"
    }


def _in_batches(split: TokenizedSplit) -> tuple[list[dict[str, Tensor]], np.ndarray]:
    """The split in batches by length, and its labels in the same order."""
    indices = epoch_batches(split, 32, None)
    return [split.batch(rows) for rows in indices], split.labels[[row for rows in indices for row in rows]]


def run_benchmark(run: Run) -> None:
    """Time every exported file at the conditions of every latency first, then over the recipe's grid."""
    chosen = run.recipe.benchmark
    files = {
        f"{role}/{precision}": run.path("export", role, FILE_OF[precision])
        for role in roles(run)
        for precision in run.recipe.export.precisions
    }
    at_latencies = {
        name: _timed(files, run, conditions) for name, conditions in run.latency_conditions.items()
    }
    grid = benchmark(
        files,
        batch_sizes=tuple(chosen.batch_sizes),
        sequence_lengths=tuple(chosen.sequence_lengths),
        num_threads=tuple(chosen.num_threads),
        provider=run.conditions.provider,
        seconds_per_point=chosen.seconds_per_point,
        on_progress=lambda done, total: run.say(f"benchmark: {done} of {total} points"),
    )
    for row in grid["rows"]:
        row["model"] = row["model"].partition("/")[0]
    run.folder.write_json("benchmark/benchmark.json", {**grid, "at_latencies": at_latencies})


def _timed(files: Mapping[str, Path], run: Run, conditions: Conditions) -> dict[str, dict[str, Any]]:
    """The files against each other at the conditions of one latency, by the files' names."""
    seconds = run.recipe.benchmark.seconds_per_point
    summaries = measure_files(
        files,
        conditions,
        vocab_size=run.space.dimensions.vocab_size,
        min_seconds=seconds,
        max_seconds=2 * seconds,
        clock=CLOCKS[best_clock(conditions)],
    )
    return {name: summary.to_dict() for name, summary in summaries.items()}


def write_report(run: Run) -> None:
    """Gather what the stages found into report.json, report.md and report.html."""
    build_report(report_data(run), run.path("report"))


def report_data(run: Run) -> dict[str, Any]:
    """Everything the report shows, read from the stages' files."""
    timed = read_json(run.path("benchmark", "benchmark.json"))
    models = [_model_row(run, role, timed["at_latencies"][LATENCY]) for role in roles(run)]
    for model in models:
        model["budgets"] = budget_rows(run, model, timed["at_latencies"])
    found = read_json(run.path("search", "search.json"))
    return {
        "name": run.recipe.name,
        "description": run.recipe.description,
        "seed": run.recipe.seed,
        **origin(run.conditions.provider),
        "recipe": run.recipe.model_dump(mode="json"),
        "task": {
            "metric_name": run.task.metric_name,
            "label_names": list(run.task.label_names),
            "rows": read_json(run.path("data", "report.json"))["rows"],
        },
        "budgets": models[-1]["budgets"],
        "models": models,
        "verdict": verdict(models, run.task.metric_name, len(run.splits["test"])),
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
        "vocabulary": _vocabulary_words(run).get("vocabulary"),
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


def budget_rows(
    run: Run, model: Mapping[str, Any], timed: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Each budget with what the model's exported file reached; the winner's are the run's contract.

    `timed` holds the summaries of all files by latency. A speedup is held against the teacher's latency of
    the same interleaved measurement, so that a machine that is slower today than when the limit was set does
    not count against the file.
    """
    rows = []
    for budget in run.budgets.limits:
        conditions = run.latency_conditions.get(budget.name)
        value = _reached(run, model, budget.name, timed)
        if conditions is not None and budget.name in run.latency["speedups"]:
            teacher_ms = timed[budget.name][f"teacher/{conditions.precision}"]["p50_ms"]
            least, most = speedup_limits(run.latency["speedups"][budget.name], teacher_ms)
            budget = Budget(budget.name, most, least)
        rows.append(_budget_row(budget, value, conditions))
    return rows


def _reached(
    run: Run,
    model: Mapping[str, Any],
    name: str,
    timed: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> float:
    """What a budgeted cost is of the exported file."""
    if name in ("num_parameters", "macs"):
        return int(model[name])
    if name == "size_mib":
        return float(model["files"][run.conditions.precision]["size_mib"])
    file = f"{model['role']}/{run.latency_conditions[name].precision}"
    return float(timed[name][file]["p50_ms"])


def _budget_row(budget: Budget, value: float, conditions: Conditions | None) -> dict[str, Any]:
    return {
        "name": budget.name,
        "limit": budget.upper,
        "least": budget.lower,
        "value": value,
        "met": budget.overshoot(value) == 0.0,
        "conditions": None if conditions is None else str(conditions),
    }


def verdict(models: list[dict[str, Any]], metric: str, num_test_rows: int) -> str:
    """One sentence: did the search pay for itself against the hand-designed baseline?

    Differences below two standard errors of a difference on the test set are called ties.
    """
    by_role = {model["role"]: model for model in models}
    if "baseline" not in by_role:
        return "No baseline was distilled, so nothing is known about what the search was worth."
    ours, theirs = by_role["winner"], by_role["baseline"]
    ours_metric, theirs_metric = ours["metrics"]["test"][metric], theirs["metrics"]["test"][metric]
    difference = ours_metric - theirs_metric
    spread = 2 * (ours_metric * (1 - ours_metric) * 2 / max(1, num_test_rows)) ** 0.5
    ratio = theirs["files"]["fp32"]["p50_ms"] / ours["files"]["fp32"]["p50_ms"]
    speed = f"{ratio:.2f} times as fast" if ratio >= 1 else f"{1 / ratio:.2f} times slower"
    compared = (
        f"{ours['architecture']} has {ours_metric:.3f} test {metric} against {theirs_metric:.3f} "
        f"of the hand-designed {theirs['architecture']}, and is {speed} in fp32"
    )
    if broken := [budget["name"] for budget in theirs["budgets"] if not budget["met"]]:
        compared += f"; no uniform BERT of these sizes fits, this one is over {' and '.join(broken)}"
    if abs(difference) <= spread:
        paid = "bought speed" if ratio > 1.05 else "did not pay for itself"
        noise = f"the {metric} gap is within the noise of {num_test_rows} test rows"
        return f"The search {paid}: {compared}; {noise}."
    paid = "paid for itself" if difference > 0 else "did not pay for itself"
    return f"The search {paid}: {compared}."


def budgets_met(data: Mapping[str, Any]) -> bool:
    """Whether the shipped winner keeps every budget."""
    return all(budget["met"] for budget in data["budgets"])
