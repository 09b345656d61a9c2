"""A whole report in numbers that never were, and a page that can be asked what it shows."""

from __future__ import annotations

import random
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """What a browser would see: that tags balance, the ids, the text, and what would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for key, value in attrs if key == "id"]
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _file(size_mib: float, accuracy: float, p50_ms: float, reason: str | None = None) -> dict[str, Any]:
    return {
        "size_mib": size_mib,
        "test_accuracy": accuracy,
        "max_logit_error": 1.3e-6,
        "p50_ms": p50_ms,
        "recommended": reason is None,
        "reason": reason,
    }


def _model(
    role: str, operators: list[str], num_parameters: int, macs: int, files: dict[str, Any]
) -> dict[str, Any]:
    accuracy = files["fp32"]["test_accuracy"]
    return {
        "role": role,
        "architecture": "-".join(operators),
        "operators": operators,
        "num_parameters": num_parameters,
        "macs": macs,
        "metrics": {"validation": {"accuracy": accuracy + 0.006}, "test": {"accuracy": accuracy}},
        "files": files,
    }


def _models() -> list[dict[str, Any]]:
    slow = "int8 is not faster on this CPU (1.04× fp32)"
    teacher = {"fp32": _file(86.7, 0.8396, 13.42), "int8": _file(22.1, 0.8349, 9.87)}
    baseline = {"fp32": _file(8.4, 0.7861, 1.274), "int8": _file(2.4, 0.7842, 1.301, slow)}
    winner = {"fp32": _file(7.9, 0.8077, 1.121), "int8": _file(2.2, 0.8030, 1.166, slow)}
    return [
        _model("teacher", ["mha12", "ffn1536"] * 6, 22_713_986, 362_000_000, teacher),
        _model("baseline", ["mha3", "ffn384"], 2_195_714, 26_400_000, baseline),
        _model("winner", ["mha3", "conv3", "ffn192"], 2_062_082, 24_100_000, winner),
    ]


def _budgets() -> list[dict[str, Any]]:
    conditions = "fp32, batch 1, sequence 32, 1 thread, cpu"
    return [
        {"name": "num_parameters", "limit": 2_500_000, "value": 2_062_082, "met": True, "conditions": None},
        {"name": "latency_ms", "limit": 1.34, "value": 1.121, "met": True, "conditions": conditions},
    ]


def _search() -> dict[str, Any]:
    rng = random.Random(7)
    evaluated: list[dict[str, Any]] = []
    for index in range(120):
        latency_ms = rng.uniform(0.5, 3.2)
        score = 0.8 - 0.14 / (0.4 + latency_ms) + rng.gauss(0, 0.012)
        evaluated.append(
            {
                "architecture": f"child{index}",
                "score": score,
                "num_parameters": int(1.6e6 + 5e5 * latency_ms + rng.gauss(0, 1.2e5)),
                "latency_ms": latency_ms,
                "fits": latency_ms <= 1.34,
                "on_front": False,
            }
        )
    best = 0.0
    for child in sorted(evaluated, key=lambda child: child["latency_ms"]):
        if child["score"] > best:
            best, child["on_front"] = child["score"], True
    fitting = sorted((child for child in evaluated if child["fits"]), key=lambda child: -child["score"])
    fitting[0]["architecture"] = "mha3-conv3-ffn192"
    finalists = [
        {
            "architecture": child["architecture"],
            "predicted_ms": child["latency_ms"],
            "measured_ms": child["latency_ms"] * (1.03 if child is not fitting[2] else 1.5),
            "fits": child is not fitting[2],
        }
        for child in fitting[:3]
    ]
    return {
        "evaluated": evaluated,
        "winner": "mha3-conv3-ffn192",
        "finalists": finalists,
        "searcher": "evolution",
        "num_evaluations": 120,
    }


def _log(steps: int, start: float, end: float, best: float) -> list[dict[str, Any]]:
    rng = random.Random(steps)
    log: list[dict[str, Any]] = []
    for step in range(10, steps + 1, 10):
        done = step / steps
        loss = end + (start - end) * (1 - done) ** 3 + rng.gauss(0, 0.03)
        log.append({"step": step, "loss": loss, "lr": 1e-4 * (1 - done), "steps_per_s": 9.1})
        if step % 150 == 0:
            log.append({"step": step, "validation_accuracy": best - 0.12 * (1 - done) ** 2})
    return log


def _benchmark() -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "precision": precision,
            "batch_size": batch_size,
            "sequence_length": 32,
            "num_threads": 1,
            "provider": "cpu",
            "p50_ms": p50_ms * batch_size**0.9,
            "p95_ms": p50_ms * batch_size**0.9 * 1.07,
            "p99_ms": None if batch_size > 1 else p50_ms * 1.3,
            "iqr_ms": 0.04 * p50_ms,
            "repeats": 1200 // batch_size,
            "throughput_per_s": 1000 * batch_size**0.1 / p50_ms,
            "noisy": (model, precision, batch_size) == ("teacher", "int8", 8),
        }
        for model, times in (("teacher", (13.42, 9.87)), ("baseline", (1.27, 1.3)), ("winner", (1.12, 1.17)))
        for precision, p50_ms in zip(("fp32", "int8"), times, strict=True)
        for batch_size in (1, 8)
    ]


def sample_data() -> dict[str, Any]:
    """The report data of a run like the demo's, numbers made up."""
    return {
        "name": "reviews-mini",
        "description": "Rotten Tomatoes sentences, a MiniLM-L6 teacher, ten times less latency.",
        "seed": 0,
        "created": "2026-03-04T10:22:31+00:00",
        "machine": {"cpu": "AMD EPYC 7B13", "cores": 2, "gpu": None, "system": "Linux 6.1"},
        "versions": {"bertcompress": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "onnxruntime": "1.32.0"},
        "command": "bertcompress run reviews-mini --set seed=0",
        "recipe": {
            "name": "reviews-mini",
            "seed": 0,
            "budget": {"latency_ms": 1.34, "num_parameters": 2_500_000},
        },
        "task": {
            "metric_name": "accuracy",
            "label_names": ["negative", "positive"],
            "rows": {"train": 8530, "validation": 1066, "test": 1066},
        },
        "budgets": _budgets(),
        "models": _models(),
        "verdict": "The winner is good: it is 2.2 points more accurate than the "
        "hand-designed baseline and 1.14× as fast.",
        "search": _search(),
        "latency_table": {
            "coefficients_ms": {"mha12": 0.94, "mha3": 0.31, "ffn1536": 1.12, "ffn192": 0.16, "conv3": 0.21},
            "intercept_ms": 0.18,
            "streaming": {"cached": 3_680_000.0, "ms_per_million": 0.229, "weights": {"mha12": 591_360}},
            "mape_percent": 4.3,
            "kendall": 0.93,
            "num_heldout": 4,
        },
        "training": {
            "teacher": _log(540, 0.69, 0.25, 0.846),
            "supernet": _log(1500, 1.4, 0.7, 0.77),
            "winner": _log(1080, 0.9, 0.4, 0.814),
            "baseline": _log(1080, 0.95, 0.45, 0.792),
        },
        "benchmark": {
            "rows": _benchmark(),
            "noise": {"noisy": True, "reasons": ["other processes used 20% of the CPUs"]},
        },
        "stages": [
            {"name": "prepare", "seconds": 6.2},
            {"name": "teacher", "seconds": 141.7},
            {"name": "supernet", "seconds": 212.0},
            {"name": "search", "seconds": 64.5},
            {"name": "student", "seconds": 188.1},
        ],
        "space": {
            "choices": [["mha3", "mha12", "ffn192", "ffn1536", "conv3", "identity"]] * 6,
            "num_children": 46656,
        },
    }
