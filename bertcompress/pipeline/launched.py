"""A run by the processes of `accelerate launch`: the first one alone writes to the folder.

The others take part in the stages that train. They do so in a mirror of the run folder, which they
may write to as if it were their own, and which is dropped at the end.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from bertcompress.errors import LaunchError
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.recipe import Recipe
from bertcompress.training.processes import num_processes, receive

# The others wait while the first one times or exports.
PATIENCE = timedelta(days=7)


def join_launch() -> None:
    """Meet the other processes of the launch; nothing when started as usual.

    Raises:
        LaunchError: accelerate does not connect the processes that the launcher started.
    """
    if num_processes() == 1:
        return
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU")
    state = PartialState(cpu=on_cpu, timeout=PATIENCE)
    # A group that is still open when the interpreter ends may abort the process.
    atexit.register(state.destroy_process_group)
    met = state.num_processes
    if met != num_processes():
        raise LaunchError(
            f"launch: {num_processes()} processes were started, but accelerate connects {met}; on a machine "
            "without a GPU set ACCELERATE_USE_CPU=true and start them with "
            "python -m torch.distributed.run --standalone --nproc_per_node N -m bertcompress.cli ..."
        )


def follow(recipe: Recipe, run_dir: Path, stages: Sequence[tuple[str, Callable[[Run], None] | None]]) -> None:
    """In all processes but the first: take part in each stage that is made and has a part for them."""
    with tempfile.TemporaryDirectory(prefix="bertcompress-") as mirror:
        for name, on_other_ranks in stages:
            is_made = receive()
            if is_made and on_other_ranks is not None:
                mirror_stages(run_dir, Path(mirror), name)
                on_other_ranks(Run(recipe, RunFolder(Path(mirror)), None))


def mirror_stages(run_dir: Path, mirror: Path, current: str) -> None:
    """Make `mirror` show the run folder's stages by links, and hold a copy of the current one."""
    made, copied = RunFolder(run_dir).in_progress(current), mirror / current
    if copied.is_symlink():
        copied.unlink()
    if made.is_dir():
        shutil.copytree(made, copied, dirs_exist_ok=True)
    for folder in sorted(path for path in run_dir.iterdir() if path.is_dir()):
        shown = mirror / folder.name
        if folder.name.startswith(".") or folder.name == current:
            continue
        if not shown.is_symlink():
            # Its own copy of a stage that is over: the first process has the whole of it.
            shutil.rmtree(shown, ignore_errors=True)
            shown.symlink_to(folder.resolve(), target_is_directory=True)
