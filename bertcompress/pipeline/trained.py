"""A run that is trained so far, found in its folder or made from a recipe; its report, kept current.

Loads torch only once the recipe, or the folder, is known to be good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bertcompress.errors import RunFolderError
from bertcompress.pipeline import run_recipe
from bertcompress.pipeline.run_folder import MANIFEST, RunFolder
from bertcompress.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from bertcompress.pipeline.run import Run


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
    if not (Path(target) / MANIFEST).is_file():
        recipe = load_recipe(target, list(overrides))
        folder = RunFolder(run_dir or Path("runs") / recipe.name)
        run_recipe(recipe, folder.path, until, console=console)
        return _opened(recipe, folder, console)
    if overrides or run_dir:
        raise RunFolderError(f"{target}: is a run's folder; --set and --run-dir go with a recipe")
    recipe, folder = load_recipe(str(Path(target) / "recipe.yaml"), []), RunFolder(Path(target))
    if until not in {stage["name"] for stage in folder.stage_seconds()}:
        raise RunFolderError(
            f"{target}: its {until} is not trained; run `bertcompress run {target}/recipe.yaml "
            f"--run-dir {target} --until {until}` first"
        )
    return _opened(recipe, folder, console)


def _opened(recipe: Recipe, folder: RunFolder, console: Console | None) -> Run:
    from bertcompress.pipeline.flow import quieten_transformers
    from bertcompress.pipeline.run import Run

    quieten_transformers()
    return Run(recipe, folder, console)


def keep_result(run: Run, name: str, result: Mapping[str, Any]) -> Path:
    """Write supernet/NAME.json and its figure; the run's report is written again where there is one.

    It lies with the supernet that it is about, so that a supernet trained anew drops it.
    """
    from bertcompress.report import draw_findings

    path = run.folder.write_json(f"supernet/{name}.json", result)
    draw_findings({name: result}, run.path("supernet", "plots"))
    refresh_report(run)
    return path


def refresh_report(run: Run) -> None:
    """Write the run's report again, where there is one."""
    if "report" in {stage["name"] for stage in run.folder.stage_seconds()}:
        from bertcompress.pipeline.stages.report import write_report

        write_report(run)
