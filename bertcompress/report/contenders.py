"""All that a user could serve, in one kind of row: the shipped model and its alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertcompress.report.comparison import Comparison, compare_rows, compare_shares
from bertcompress.report.models import metric_name, model_of, num_rows
from bertcompress.report.numbers import finite

# From the simplest to make and to serve to the most laborious.
KINDS = (
    "linear",
    "static",
    "teacher int8",
    "truncated teacher",
    "hand design",
    "random winner",
    "search winner",
)


@dataclass(frozen=True)
class Contender:
    """A model with its test metric; `test_correct` holds 1 for each test row on which it was right, else 0.

    Raises:
        ValueError: `kind` is none of KINDS.
    """

    name: str
    kind: str
    metric: float | None
    architecture: str = ""
    interval: tuple[float, float] | None = None
    p50_ms: float | None = None
    size_mib: float | None = None
    num_parameters: int | None = None
    within_budgets: bool = True
    shipped: bool = False
    note: str = ""
    test_correct: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: unknown kind {self.kind!r}; use one of {', '.join(KINDS)}")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Contender:
        """Return the contender that a row of the report's "alternatives" describes."""
        interval, correct = row.get("interval"), row.get("test_correct")
        return cls(
            name=str(row["name"]),
            kind=str(row["kind"]),
            metric=finite(row.get("metric")),
            architecture=str(row.get("architecture") or ""),
            interval=(float(interval[0]), float(interval[1])) if interval else None,
            p50_ms=finite(row.get("p50_ms")),
            size_mib=finite(row.get("size_mib")),
            num_parameters=row.get("num_parameters"),
            within_budgets=bool(row.get("within_budgets")),
            shipped=bool(row.get("shipped")),
            note=str(row.get("note") or ""),
            test_correct=tuple(correct) if correct else None,
        )

    def is_simpler_than(self, other: Contender) -> bool:
        """Whether this kind takes less to make and to serve."""
        return KINDS.index(self.kind) < KINDS.index(other.kind)


def alternatives(data: Mapping[str, Any]) -> list[Contender]:
    """Return the rows of "alternatives", the shipped one among them."""
    return [Contender.of(row) for row in data.get("alternatives") or []]


def contenders(data: Mapping[str, Any]) -> list[Contender]:
    """Return the alternatives, or where the data has none, the baseline and the winner of the run."""
    kinds = {"baseline": "hand design", "winner": "search winner"}
    models = [(model_of(data, role), kind) for role, kind in kinds.items()]
    return alternatives(data) or [
        _of_model(data, model, kind, shipped=model["role"] == "winner") for model, kind in models if model
    ]


def shipped_of(data: Mapping[str, Any]) -> Contender | None:
    """Return the model that the run ships."""
    return next((each for each in contenders(data) if each.shipped), None)


def teacher_of(data: Mapping[str, Any]) -> Contender | None:
    """Return the teacher, as a contender of the most laborious kind."""
    model = model_of(data, "teacher")
    return None if model is None else _of_model(data, model, KINDS[-1], shipped=False)


def _of_model(data: Mapping[str, Any], model: Mapping[str, Any], kind: str, *, shipped: bool) -> Contender:
    files, metrics, metric = model.get("files") or {}, model.get("metrics") or {}, metric_name(data)
    file: Mapping[str, Any] = files.get("fp32") or next(iter(files.values()), {})
    measured = (metrics.get("test") or {}).get(metric, file.get(f"test_{metric}"))
    correct = model.get("test_correct") or metrics.get("test_correct")
    broken = [str(budget.get("name")) for budget in model.get("budgets") or [] if not budget.get("met")]
    return Contender(
        name=str(model.get("architecture") or model.get("role")),
        kind=kind,
        metric=finite(measured),
        architecture=str(model.get("architecture", "")),
        p50_ms=finite(file.get("p50_ms")),
        size_mib=finite(file.get("size_mib")),
        num_parameters=model.get("num_parameters"),
        within_budgets=not broken,
        shipped=shipped,
        note=f"over {' and '.join(broken)}" if broken else "",
        test_correct=tuple(correct) if correct else None,
    )


def compare(data: Mapping[str, Any], ours: Contender, theirs: Contender) -> Comparison | None:
    """Compare by rows where both models' rows are known, else by the metric; None where neither works."""
    if ours.test_correct and theirs.test_correct:
        return compare_rows(ours.test_correct, theirs.test_correct)
    rows = num_rows(data).get("test")
    if ours.metric is None or theirs.metric is None or not rows:
        return None
    if not (0 <= ours.metric <= 1 and 0 <= theirs.metric <= 1):
        return None
    return compare_shares(ours.metric, theirs.metric, rows)
