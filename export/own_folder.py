"""The folder that an export owns: built beside its place and swapped in whole, nobody's files overwritten.

What an earlier export wrote goes with it; a folder that holds anything else is refused."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertcompress.errors import ExportError
from bertcompress.export.record import RECORD, read_record
from bertcompress.files import give_usual_mode, hash_file, plain_write_errors

MOST_NAMED = 5


def check_output(out_dir: Path | str, source: str | None = None) -> Path:
    """The real path of an output folder that may be made or replaced; nothing is written.

    `source` is where the model came from, which the folder must neither hold nor lie in.

    Raises:
        ExportError: it is a file or below one, cannot be written, holds files that no export wrote or that
            were changed since, or holds the source.
    """
    target = Path(out_dir).expanduser().resolve()
    _check_place(target, str(out_dir))
    if source is not None and Path(source).is_dir():
        _check_apart(target, Path(source).resolve(), str(out_dir))
    problems = _not_ours(target)
    if problems:
        advice = "an export replaces an earlier export alone: move these files away, or choose another folder"
        raise ExportError.from_problems(str(out_dir), [*problems, advice])
    return target


@contextmanager
def own_folder(out_dir: Path | str, source: str | None = None) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `out_dir` when the block ends without an error.

    Until then, and after an error, what `out_dir` held is as it was.

    Raises:
        ExportError: see check_output.
        OutputError: the disk is full or cannot be written.
    """
    target = check_output(out_dir, source)
    with plain_write_errors(target):
        made = _folder_beside(target)
        try:
            yield made
            # Once more: files may have come in the meantime.
            check_output(out_dir, source)
            _swap(made, target)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _check_place(target: Path, shown: str) -> None:
    parent = next(folder for folder in (target, *target.parents) if folder.exists())
    if not parent.is_dir():
        where = "is a file" if parent == target else f"lies below {parent}, which is a file"
        raise ExportError(f"{shown}: {where}; choose another folder")
    if target.is_dir() and os.path.ismount(target):
        raise ExportError(
            f"{shown}: is where a disk is mounted, and cannot be swapped for a new folder; "
            f"choose a folder in it, as {Path(shown) / 'model'}"
        )
    beside = target.parent if parent == target else parent
    if not os.access(beside, os.W_OK | os.X_OK) or os.statvfs(beside).f_flag & os.ST_RDONLY:
        raise ExportError(f"{shown}: {beside} cannot be written; choose a folder elsewhere")


def _check_apart(target: Path, source: Path, shown: str) -> None:
    if target == source:
        raise ExportError(f"{shown}: is the model's own folder; choose another folder")
    if target in source.parents:
        raise ExportError(f"{shown}: holds the model's own folder {source}; choose another folder")
    if source in target.parents:
        raise ExportError(f"{shown}: lies in the model's own folder {source}; choose another folder")


def _not_ours(target: Path) -> list[str]:
    """What a folder holds that no export wrote, or that was changed since."""
    if not target.is_dir() or not any(target.iterdir()):
        return []
    try:
        listed = read_record(target)["files"]
    except ExportError:
        listed = {}
    found = []
    for path in sorted(target.iterdir()):
        if path.name == RECORD and listed:
            continue
        if path.name not in listed or path.is_symlink() or not path.is_file():
            found.append(f"{path.name}: was not written by an export")
        elif hash_file(path) != listed[path.name]:
            found.append(f"{path.name}: was changed since it was exported")
    more = len(found) - MOST_NAMED
    return found if more <= 1 else [*found[:MOST_NAMED], f"and {more} more"]


def _folder_beside(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new-"))


def _swap(made: Path, target: Path) -> None:
    """Put a folder in the place of another, which is removed."""
    give_usual_mode(made, 0o777)
    if not target.exists():
        os.rename(made, target)
        return
    retired = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old-"))
    try:
        os.rename(target, retired / target.name)
        try:
            os.rename(made, target)
        except OSError:
            os.rename(retired / target.name, target)
            raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)
