"""The rows of train that int8 files are scaled and judged by."""

from __future__ import annotations

import random

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.export.calibration import Calibration
from bertcompress.pipeline.run import Run


def calibration_rows(run: Run, train: TokenizedSplit) -> Calibration | None:
    """Rows of train, drawn by the run's seed, in batches by length; None where the recipe wants none."""
    wanted = run.recipe.export.calibration_rows
    if not wanted:
        return None
    drawn = random.Random(run.recipe.seed).sample(range(len(train)), min(wanted, len(train)))
    lengths = train.lengths
    order = sorted(drawn, key=lambda row: int(lengths[row]))
    batches = [train.batch(order[start : start + 32]) for start in range(0, len(order), 32)]
    return Calibration.from_batches(batches, train.labels[order], run.recipe.export.max_metric_drop)
