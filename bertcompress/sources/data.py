"""Where rows come from: local files, files in an installed package, the Hub. Every command reads by this."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict

from bertcompress.errors import DataError
from bertcompress.sources.data_files import Files, is_hub_id, split_paths
from bertcompress.sources.hub_data import load_hub
from bertcompress.sources.tables import read_table
from bertcompress.sources.tables.table import Table


@dataclass(frozen=True)
class Origin:
    """Where the rows of a split stand in their files, and which columns hold values of several kinds."""

    paths: tuple[Path, ...]
    starts: tuple[int, ...]  # the number of each file's first row
    lines: np.ndarray  # (rows in all files,)
    unit: str  # line or row
    mixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    kept: np.ndarray | None = None  # numbers of the rows that are left; None: all

    def place(self, row: int) -> str:
        """Say where row `row` stands: its line, and its file where there are several."""
        number = row if self.kept is None else int(self.kept[row])
        word = f"{self.unit} {self.lines[number]}"
        if len(self.paths) == 1:
            return word
        return f"{self.paths[bisect_right(self.starts, number) - 1].name} {word}"


@dataclass(frozen=True)
class LoadedSource:
    """A source's splits, always with "train"; of local files where each row stands, and what was counted.

    `files` holds for each file its split and path, its records, and what else its reader counts, such as
    blank lines that were skipped.
    """

    splits: DatasetDict
    origins: Mapping[str, Origin] = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()

    def place(self, split: str, row: int) -> str:
        """Say where a row of a split stands."""
        origin = self.origins.get(split)
        return f"row {row + 1}" if origin is None else origin.place(row)

    def mixed(self, split: str, column: str) -> Mapping[str, int]:
        """Return the kinds of value, each with its first line, of a column that no one type can hold."""
        origin = self.origins.get(split)
        return {} if origin is None else origin.mixed.get(column, {})


def load_source(
    source: str, files: Files | None = None, where: Mapping[str, str] | None = None
) -> LoadedSource:
    """Read the splits that a source has, each with the rows that match all of `where`.

    `source` is a file or folder, `package:NAME` or `package:NAME/path/inside`, or a Hub id (`owner/name`, or
    `owner/name:config`). `files` maps train, validation and test to the source's own files, or to the Hub's
    split names; a folder's file may be named without its suffix. Left out, they are found by their names.

    Columns of csv and tsv files are text; those of json, jsonl and parquet files keep their types.

    Raises:
        DataError: the source cannot be found or read, `files` names what is not there, or no row matches.
    """
    loaded = (
        LoadedSource(DatasetDict(load_hub(source, files)))
        if is_hub_id(source)
        else _load_files(source, files)
    )
    for column, value in (where or {}).items():
        loaded = _filter(loaded, source, column, value)
    return loaded


def _load_files(source: str, files: Files | None) -> LoadedSource:
    splits, origins, counts = {}, {}, []
    for split, paths in split_paths(source, files).items():
        if len({path.suffix.lower() for path in paths}) > 1:
            raise DataError(
                f"data.files.{split}: {', '.join(path.name for path in paths)} are of several kinds; "
                "give files of one kind"
            )
        tables = [read_table(path) for path in paths]
        splits[split] = _dataset(paths, [table.columns for table in tables])
        origins[split] = _origin(paths, tables)
        counts += [
            {"split": split, "path": str(path), **table.counts}
            for path, table in zip(paths, tables, strict=True)
        ]
    return LoadedSource(DatasetDict(splits), origins, counts)


def _dataset(paths: Sequence[Path], tables: Sequence[pa.Table]) -> Dataset:
    """The rows of all files; a column that a file lacks, or has in another type, is refused."""
    first = tables[0]
    for path, table in zip(paths, tables, strict=True):
        if set(table.column_names) != set(first.column_names):
            raise DataError(
                f"{path}: has the columns {', '.join(table.column_names)}, and {paths[0].name} has "
                f"{', '.join(first.column_names)}; give files with the same columns"
            )
    try:
        whole = pa.concat_tables(
            [table.select(first.column_names) for table in tables], promote_options="permissive"
        )
    except pa.ArrowException as error:
        names = ", ".join(path.name for path in paths)
        raise DataError(
            f"{names}: their columns are of different types: {error}; write them alike"
        ) from error
    return Dataset(_supported(whole))


def _supported(table: pa.Table) -> pa.Table:
    """The columns whose types the library `datasets` has; others cannot be text or label."""
    try:
        Dataset(table)
    except Exception:  # noqa: BLE001  # What it raises for a type that it lacks differs by type.
        table = table.replace_schema_metadata(None)
    kept = []
    for name in table.column_names:
        try:
            Dataset(table.select([name]))
        except Exception:  # noqa: BLE001
            continue
        kept.append(name)
    return table.select(kept)


def _origin(paths: Sequence[Path], tables: Sequence[Table]) -> Origin:
    sizes = [len(table.lines) for table in tables]
    return Origin(
        tuple(paths),
        tuple(int(start) for start in np.cumsum([0, *sizes[:-1]])),
        np.concatenate([table.lines for table in tables]),
        tables[0].unit,
        {name: kinds for table in tables for name, kinds in table.mixed.items()},
    )


def _filter(loaded: LoadedSource, source: str, column: str, value: str) -> LoadedSource:
    """The rows of every split whose value in a column reads as `value`; a missing value reads as nothing."""
    splits, origins = {}, {}
    for split, rows in loaded.splits.items():
        if column not in rows.column_names:
            has = f"it has {', '.join(rows.column_names)}"
            raise DataError(f"data.where.{column}: {source} has no such column in {split}; {has}")
        values = [None if each is None else str(each) for each in rows[column][:]]
        kept = [index for index, each in enumerate(values) if each == str(value)]
        if not kept:
            found = sorted({each for each in values if each is not None})[:10]
            raise DataError(
                f"data.where.{column}: no row of {source} ({split}) has {str(value)!r}; "
                f"found {', '.join(found)}"
            )
        splits[split] = rows.select(kept)
        if split in loaded.origins:
            origin = loaded.origins[split]
            before = np.arange(len(rows)) if origin.kept is None else origin.kept
            origins[split] = replace(origin, kept=before[kept])
    return replace(loaded, splits=DatasetDict(splits), origins=origins)
