"""The models that a run delivers, by their roles."""

from __future__ import annotations

from bertcompress.model import CompactBertForSequenceClassification
from bertcompress.model.convert_bert import compact_from_bert
from bertcompress.pipeline.run import Run

ROLES = ("teacher", "baseline", "winner")


def roles(run: Run) -> tuple[str, ...]:
    """The models that the run delivers; without a baseline where no hand-designed network lost in full."""
    return ROLES if run.path("student", "baseline").is_dir() else ("teacher", "winner")


def deliverable(run: Run, role: str) -> CompactBertForSequenceClassification:
    """The trained model of a role; the teacher as the chain it is, so that all are exported alike."""
    if role == "teacher":
        return compact_from_bert(run.teacher)
    return CompactBertForSequenceClassification.from_pretrained(run.path("student", role, "model"))
