"""Where rows come from: the Hub, local files, or a file inside an installed package; all by `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from datasets import (
    Dataset,
    DatasetDict,
    concatenate_datasets,
    disable_progress_bars,
    enable_progress_bars,
    load_dataset,
)
from datasets import config as datasets_config
from datasets.exceptions import DatasetsError
from datasets.utils import are_progress_bars_disabled
from datasets.utils.logging import CRITICAL, get_verbosity, set_verbosity
from huggingface_hub.errors import RepositoryNotFoundError

from bertcompress.errors import DataError
from bertcompress.sources.hub import hub_answers
from bertcompress.sources.installed_package import package_folders

PACKAGE_PREFIX = "package:"
BUILDERS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
SPLITS = ("train", "validation", "test")
# File names, without suffix, that a folder's splits go by.
SPLIT_FILES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
# As they are written: "NA" and "null" are words that a text may consist of.
CSV_OPTIONS = {"keep_default_na": False, "encoding": "utf-8-sig"}

Files = Mapping[str, str | Sequence[str]]


def load_source(
    source: str, files: Files | None = None, where: Mapping[str, str] | None = None
) -> DatasetDict:
    """The splits that a source has, always with "train", each with the rows that match all of `where`.

    `source` is a file or folder, `package:NAME` or `package:NAME/path/inside`, or a Hub id (`owner/name`, or
    `owner/name:config`). `files` maps train, validation and test to the source's own files, or to the Hub's
    split names; a folder's file may be named without its suffix. Left out, they are found by their names.

    Raises:
        DataError: the source cannot be found or read, `files` names what is not there, or no row matches.
    """
    hidden = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        splits = _load_hub(source, files) if _is_hub_id(source) else _load_files(source, files)
    finally:
        if not hidden:
            enable_progress_bars()
    return DatasetDict({name: _filter(split, name, source, where or {}) for name, split in splits.items()})


def _is_hub_id(source: str) -> bool:
    path = Path(source).expanduser()
    looks_local = source.startswith((PACKAGE_PREFIX, "/", ".", "~")) or path.suffix.lower() in BUILDERS
    return not looks_local and not path.exists()


def _load_hub(source: str, files: Files | None) -> dict[str, Dataset]:
    name, _, config = source.partition(":")
    try:
        with nullcontext() if hub_answers("dataset", name) else _cache_only():
            loaded = load_dataset(name, config or None)
    except RepositoryNotFoundError:
        raise DataError(
            f"data.source: {source}: no such local file or folder, and the Hub has no data set of that name; "
            "check the spelling"
        ) from None
    except (DatasetsError, OSError, ValueError) as error:
        raise DataError(
            f"data.source: {source}: no such local file or folder, and not loadable from the Hub: "
            f"{_reason(error)}; check the spelling, or download the data and give its path"
        ) from error
    wanted = files or {split: split for split in SPLITS if split in loaded}
    named = {split: [theirs] if isinstance(theirs, str) else list(theirs) for split, theirs in wanted.items()}
    problems = [
        f"data.files.{split}: {name!r} is no split of it; it has {', '.join(loaded)}"
        for split, names in named.items()
        for name in names
        if name not in loaded
    ]
    if "train" not in named:
        problems.append(f"data.files.train: not given; name one of its splits {', '.join(loaded)}")
    if problems:
        raise DataError.from_problems(source, problems)
    return {split: concatenate_datasets([loaded[name] for name in names]) for split, names in named.items()}


@contextmanager
def _cache_only() -> Iterator[None]:
    """Within the block `datasets` reads its cache and sends no request."""
    before = datasets_config.HF_HUB_OFFLINE
    datasets_config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets_config.HF_HUB_OFFLINE = before


def _load_files(source: str, files: Files | None) -> dict[str, Dataset]:
    return {split: _read(paths) for split, paths in _split_paths(source, files).items()}


def local_files(source: str, files: Files | None = None) -> list[Path]:
    """The files on this machine that `load_source` reads; none for a Hub id.

    Raises:
        DataError: the source cannot be found, or `files` names what is not there.
    """
    if _is_hub_id(source):
        return []
    return [path for paths in _split_paths(source, files).values() for path in paths]


def _split_paths(source: str, files: Files | None) -> dict[str, list[Path]]:
    root = _package_root(source) if source.startswith(PACKAGE_PREFIX) else Path(source).expanduser()
    if not root.exists():
        raise DataError(f"data.source: {source}: no such file or folder; give the path of your data")
    return _mapped_files(source, root, files) if files else _found_files(source, root)


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
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in BUILDERS)


def _listing(root: Path) -> str:
    found = [str(path.relative_to(root)) for path in _data_files(root)[:10]]
    return ", ".join(found) or f"no {', '.join(BUILDERS)} file"


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
    path = root / Path(name).expanduser()
    candidates = [path, *(path.with_name(path.name + suffix) for suffix in BUILDERS)]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


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


def _read(paths: Sequence[Path]) -> Dataset:
    named = ", ".join(map(str, paths))
    suffixes = {path.suffix.lower() for path in paths}
    if len(suffixes) > 1 or not suffixes <= BUILDERS.keys():
        raise DataError(
            f"{named}: found {', '.join(sorted(suffixes))}; use files of one of {', '.join(BUILDERS)}"
        )
    empty = [str(path) for path in paths if path.stat().st_size == 0]
    if empty:
        raise DataError(f"{', '.join(empty)}: the file is empty; it needs a text and a label for each row")
    (suffix,) = suffixes
    options = dict(CSV_OPTIONS) if BUILDERS[suffix] == "csv" else {}
    if suffix == ".tsv":
        options["sep"] = "\t"
    no_rows = f"{named}: holds no rows; it needs a text and a label for each row"
    paths_read = [str(path) for path in paths]
    try:
        with _no_log():
            rows: Dataset = load_dataset(BUILDERS[suffix], data_files=paths_read, split="train", **options)
    except (DatasetsError, OSError, ValueError) as error:
        reason = _reason(error)
        # How the loader says that a file has a header alone.
        if "corresponds to no data" in reason:
            raise DataError(no_rows) from error
        raise DataError(f"{named}: not readable as {suffix[1:]}: {reason}; repair or convert it") from error
    if len(rows) == 0:
        raise DataError(no_rows)
    return rows


@contextmanager
def _no_log() -> Iterator[None]:
    """Within the block `datasets` logs nothing: what it raises says the same once more."""
    before = get_verbosity()
    set_verbosity(CRITICAL)
    try:
        yield
    finally:
        set_verbosity(before)


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: the loader wraps what the parser said."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _filter(rows: Dataset, split: str, source: str, where: Mapping[str, str]) -> Dataset:
    for column, value in where.items():
        if column not in rows.column_names:
            has = f"it has {', '.join(rows.column_names)}"
            raise DataError(f"data.where.{column}: {source} has no such column in {split}; {has}")
        values = [str(each) for each in rows[column][:]]
        kept = [index for index, each in enumerate(values) if each == str(value)]
        if not kept:
            raise DataError(
                f"data.where.{column}: no row of {source} ({split}) has {str(value)!r}; "
                f"found {', '.join(sorted(set(values))[:10])}"
            )
        rows = rows.select(kept)
    return rows
