"""Make what a user could serve instead, as far as the race has not: the linear model."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertcompress.pipeline.run import Run
from bertcompress.pipeline.stage import Stage
from bertcompress.training.linear import fit_linear

PAIR_MARK = " || "  # between the two texts of a pair


def make_alternatives(run: Run) -> None:
    """Fit the linear model on the training texts, and keep its answers on the test split."""
    model = fit_linear(_texts(run, "train"), _texts(run, "validation"))
    texts, labels = _texts(run, "test")
    correct = model.predict(texts) == labels
    described = {
        "metric": float(correct.mean()),
        "test_correct": correct.astype(int).tolist(),
        "p50_ms": model.p50_ms(texts),
        "size_mib": model.size_mib,
        "num_parameters": model.num_parameters,
        "strength": model.strength,
    }
    run.folder.write_json("alternatives/linear.json", described)


def _texts(run: Run, split: str) -> tuple[list[str], np.ndarray]:
    """A split's texts, those of a pair joined, and its class ids."""
    rows: Any = run.prepared.splits[split]
    columns = [rows[name][:] for name in run.task.text_columns]
    return [PAIR_MARK.join(texts) for texts in zip(*columns, strict=True)], np.asarray(rows["label"][:])


STAGE = Stage("alternatives", (), ("data",), make_alternatives)
