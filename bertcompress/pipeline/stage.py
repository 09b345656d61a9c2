"""One stage of a run: what it reads, what it needs, what it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bertcompress.pipeline.run import Run
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.log import CURVE_NAME, EVENTS_NAME

TRAINING_FILES = (CHECKPOINT_NAME, CURVE_NAME, EVENTS_NAME)


@dataclass(frozen=True)
class Stage:
    """A step of the flow: what it reads of the recipe, the stages whose results it reads, and what it makes.

    `keys` are the recipe's sections, or single keys as section.key. A stage that was killed finds again what
    it had left under the names in `resumes_from`. `on_other_ranks` is what the other processes of
    `accelerate launch` do meanwhile; without it they wait. What is named in `caches` outlives a change of
    inputs too; the stage itself sees to what it still holds for.
    """

    name: str
    keys: tuple[str, ...]
    needs: tuple[str, ...]
    make: Callable[[Run], None]
    resumes_from: tuple[str, ...] = ()
    on_other_ranks: Callable[[Run], None] | None = None
    caches: tuple[str, ...] = ()
