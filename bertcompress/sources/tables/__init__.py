"""Readers of tables, one file a kind; what was written is what is read, or it is refused by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bertcompress.errors import DataError
from bertcompress.sources.tables.delimited import read_csv
from bertcompress.sources.tables.json_rows import read_json_lines, read_json_list_or_lines
from bertcompress.sources.tables.parquet import read_parquet
from bertcompress.sources.tables.tab_separated import read_tsv
from bertcompress.sources.tables.table import Table

READERS: Mapping[str, Callable[[Path], Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json_lines,
    ".json": read_json_list_or_lines,
    ".parquet": read_parquet,
}


def read_table(path: Path) -> Table:
    """Read one file by the kind that its suffix names.

    Raises:
        DataError: it is of no kind that is read, holds no rows, or cannot be read without changing a value.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: found {path.suffix or 'no suffix'}; use files of one of {', '.join(READERS)}"
        )
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty; it needs a text and a label for each row")
        table = reader(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; check the file") from error
    if table.columns.num_rows == 0:
        raise DataError(f"{path}: holds no rows; it needs a text and a label for each row")
    return table
