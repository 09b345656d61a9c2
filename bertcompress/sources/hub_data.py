"""Rows of a data set on the Hub, by the library `datasets`, which keeps what it downloads in its cache."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from datasets import (
    Dataset,
    concatenate_datasets,
    disable_progress_bars,
    enable_progress_bars,
    load_dataset,
)
from datasets import config as datasets_config
from datasets.exceptions import DatasetsError
from datasets.utils import are_progress_bars_disabled
from huggingface_hub.errors import RepositoryNotFoundError

from bertcompress.errors import DataError
from bertcompress.sources.data_files import Files
from bertcompress.sources.hub import hub_answers

SPLITS = ("train", "validation", "test")
UNWRITABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip


def load_hub(source: str, files: Files | None) -> dict[str, Dataset]:
    """Return the splits of a data set `owner/name` or `owner/name:config`; `files` maps ours to its names.

    Raises:
        DataError: the Hub does not know it, it cannot be loaded or kept, or `files` names what it lacks.
    """
    name, _, config = source.partition(":")
    try:
        with _no_progress_bars(), nullcontext() if hub_answers("dataset", name) else _cache_only():
            loaded = load_dataset(name, config or None)
    except RepositoryNotFoundError:
        raise DataError(
            f"data.source: {source}: no such local file or folder, and the Hub has no data set of that name; "
            "check the spelling"
        ) from None
    except (DatasetsError, OSError, ValueError) as error:
        raise _unloadable(source, error) from error
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
def _no_progress_bars() -> Iterator[None]:
    hidden = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            enable_progress_bars()


@contextmanager
def _cache_only() -> Iterator[None]:
    """Within the block `datasets` reads its cache and sends no request."""
    before = datasets_config.HF_HUB_OFFLINE
    datasets_config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets_config.HF_HUB_OFFLINE = before


def _unloadable(source: str, error: BaseException) -> DataError:
    """The refusal that names the innermost cause; the loader wraps it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return DataError(
            f"data.source: {source}: the Hub's library cannot write its cache "
            f"{datasets_config.HF_DATASETS_CACHE}: {reason}; set HF_HOME to a folder that you can write"
        )
    return DataError(
        f"data.source: {source}: no such local file or folder, and not loadable from the Hub: "
        f"{reason}; check the spelling, or download the data and give its path"
    )
