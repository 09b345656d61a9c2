"""The flow's front door: what a run reads is refused here, before the libraries that train are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertcompress.training.processes import is_first

if TYPE_CHECKING:
    from rich.console import Console

    from bertcompress.recipe import Recipe


# The stages in order, known without what they import; `flow` holds them.
STAGE_NAMES = (
    "data", "vocabulary", "latency", "teacher", "transfer", "supernet", "search", "student", "alternatives",
    "export", "benchmark", "report",
)  # fmt: skip


@dataclass(frozen=True)
class RunResult:
    """What a run came to; `report` is empty and the path None while the run stops before its report."""

    report: dict[str, Any]
    budgets_met: bool
    report_path: Path | None


def run_recipe(
    recipe: Recipe, run_dir: Path, until: str | None = None, *, console: Console | None = None
) -> RunResult:
    """Run `recipe` in `run_dir` up to and including the stage `until` (all of it by default).

    Finished stages whose inputs are the same are skipped, but a report asked for by name; a training that was
    killed goes on from its last checkpoint and a search from its scores; other stages that were killed start
    over. Every process of an `accelerate launch` calls this; the result is the first one's, and empty in the
    others.

    Raises:
        BertCompressError: anything the user can put right; what earlier stages made is kept.
    """
    sources = None
    if is_first():
        from bertcompress.pipeline.sources import check_sources

        sources = check_sources(recipe, run_dir)

    from bertcompress.pipeline.flow import run_stages

    return run_stages(recipe, run_dir, until, sources, console=console)
