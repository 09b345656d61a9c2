"""A run that is trained so far, found in its folder or made from a recipe; its report, kept current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bertcompress.errors import RunFolderError
from bertcompress.pipeline import quieten_transformers, run_recipe
from bertcompress.pipeline.delivery import write_report
from bertcompress.pipeline.run import Run
from bertcompress.recipe import load_recipe
from bertcompress.report.plots import write_pngs
from bertcompress.report.supernet_plots import draw_supernet_plots
from bertcompress.run_folder import MANIFEST, RunFolder


def trained_run(
    target: str,
    run_dir: Path | None,
    overrides: Sequence[str],
    *,
    until: str = "supernet",
    console: Console | None,
) -> Run:
    """The run in the folder `target`, or that of the recipe `target`, run up to `until` where needed.

    Raises:
        RunFolderError: the folder's stage is not finished, or overrides are given for a folder.
        RecipeError: `target` is neither a run's folder nor a recipe.
    """
    quieten_transformers()
    if not (Path(target) / MANIFEST).is_file():
        recipe = load_recipe(target, list(overrides))
        folder = run_dir or Path("runs") / recipe.name
        run_recipe(recipe, folder, until, console=console)
        return Run(recipe, RunFolder(folder), console)
    if overrides or run_dir:
        raise RunFolderError(f"{target}: is a run's folder; --set and --run-dir go with a recipe")
    run = Run(load_recipe(str(Path(target) / "recipe.yaml"), []), RunFolder(Path(target)), console)
    if until not in {stage["name"] for stage in run.folder.stage_seconds()}:
        raise RunFolderError(
            f"{target}: its {until} is not trained; run `bertcompress {until} {target}/recipe.yaml "
            f"--run-dir {target}` first"
        )
    return run


def keep_result(run: Run, name: str, result: Mapping[str, Any]) -> Path:
    """Write supernet/NAME.json and its figure; the run's report is written again where there is one.

    It lies with the supernet that it is about, so that a supernet trained anew drops it.
    """
    path = run.folder.write_json(f"supernet/{name}.json", result)
    write_pngs(draw_supernet_plots({name: result}), run.path("supernet", "plots"))
    refresh_report(run)
    return path


def refresh_report(run: Run) -> None:
    """Write the run's report again, where there is one."""
    if "report" in {stage["name"] for stage in run.folder.stage_seconds()}:
        write_report(run)
