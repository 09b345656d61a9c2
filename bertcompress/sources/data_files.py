"""Which files make which split. A path is a path here, never a pattern, whatever characters it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bertcompress.errors import DataError
from bertcompress.sources.installed_package import PACKAGE_PREFIX, package_folders
from bertcompress.sources.tables import READERS

# File names, without suffix, that a folder's splits go by.
SPLIT_FILES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}

Files = Mapping[str, str | Sequence[str]]


def is_hub_id(source: str) -> bool:
    """Whether a source names a data set on the Hub: it looks like no path, and nothing lies there."""
    looks_local = source.startswith((PACKAGE_PREFIX, "/", ".", "~")) or Path(source).suffix.lower() in READERS
    return not looks_local and not _exists(Path(source))


def local_files(source: str, files: Files | None = None) -> list[Path]:
    """Return the files on this machine that `load_source` reads; none for a Hub id.

    Raises:
        DataError: the source cannot be found, or `files` names what is not there.
    """
    if is_hub_id(source):
        return []
    return [path for paths in split_paths(source, files).values() for path in paths]


def split_paths(source: str, files: Files | None) -> dict[str, list[Path]]:
    """Return the files of every split of a source on this machine.

    Raises:
        DataError: the source cannot be found, `files` names what is not there, or the names do not tell.
    """
    root = _package_root(source) if source.startswith(PACKAGE_PREFIX) else _expanded(source)
    if not _exists(root):
        raise DataError(f"data.source: {source}: no such file or folder; give the path of your data")
    return _mapped_files(source, root, files) if files else _found_files(source, root)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A name that is too long for the file system.
        return False


def _expanded(name: str) -> Path:
    """The path, with ~ as the home folder; a name that merely begins with ~ is itself."""
    return Path(name).expanduser() if name == "~" or name.startswith("~/") else Path(name)


def _package_root(source: str) -> Path:
    name, _, inside = source.removeprefix(PACKAGE_PREFIX).partition("/")
    try:
        folders = package_folders(name)
    except ModuleNotFoundError as error:
        raise DataError(
            f"data.source: {source}: the package {name} is not installed; run `pip install {name}`"
        ) from error
    if not folders:
        raise DataError(f"data.source: {source}: {name} is a single module and has no files")
    paths = [folder / inside for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])


def _data_files(folder: Path) -> list[Path]:
    """The files of a kind that is read, at any depth; hidden files and folders are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in READERS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _listing(root: Path) -> str:
    found = [str(path.relative_to(root)) for path in _data_files(root)[:10]]
    return ", ".join(found) or f"no {', '.join(READERS)} file"


def _mapped_files(source: str, root: Path, files: Files) -> dict[str, list[Path]]:
    """The paths that `files` names, relative to a folder."""
    if root.is_file():
        raise DataError(
            f"data.files: {source} is one file; give its folder as data.source, or leave out data.files"
        )
    problems = [] if "train" in files else ["data.files.train: not given; name the file to train on"]
    paths: dict[str, list[Path]] = {}
    for split, names in files.items():
        for name in [names] if isinstance(names, str) else names:
            path = _named_file(root, name)
            if path is None:
                problems.append(f"data.files.{split}: {name!r} is not there; it holds {_listing(root)}")
            else:
                paths.setdefault(split, []).append(path)
    if problems:
        raise DataError.from_problems(source, problems)
    return paths


def _named_file(root: Path, name: str) -> Path | None:
    path = root / _expanded(name)
    candidates = [path, *(path.with_name(path.name + suffix) for suffix in READERS if path.name)]
    return next((candidate for candidate in candidates if _exists(candidate) and candidate.is_file()), None)


def _found_files(source: str, root: Path) -> dict[str, list[Path]]:
    """A file alone is train, as is a folder's only data file; else a folder's files go by their names."""
    if root.is_file():
        return {"train": [root]}
    found = _data_files(root)
    if len(found) == 1:
        return {"train": found}
    paths: dict[str, list[Path]] = {}
    for split, stems in SPLIT_FILES.items():
        named = [path for path in found if path.parent == root and path.stem.lower() in stems]
        if len(named) > 1:
            raise DataError(
                f"data.source: {source}: {', '.join(path.name for path in named)} could each be {split}; "
                "say which by data.files"
            )
        if named:
            paths[split] = named
    if "train" not in paths:
        raise DataError(
            f"data.source: {source}: no file is named train; it holds {_listing(root)}; "
            "say which by data.files"
        )
    return paths
