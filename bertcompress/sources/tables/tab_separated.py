"""Tab-separated values, of which there are two kinds: with quotation marks around fields, and without any.

GLUE's files and most corpora have none, and a text that begins with a mark is just that; spreadsheets and
pandas put marks around some fields. A file is read as the one kind that it can be. Where both readings are
possible and differ, it is quoted when marks stand exactly where a known writer puts them, plain when no such
writer can have made it, and refused when neither is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from bertcompress.errors import DataError
from bertcompress.sources.tables.delimited import AS_JSONL, Record, quoted_records, to_table
from bertcompress.sources.tables.table import Table
from bertcompress.sources.tables.text_file import encoding_of, read_lines

TAB = "\t"
# What makes a writer quote a field: csv, pandas and polars; spreadsheets quote commas as well.
QUOTED_FOR = ('"\t\r\n', '"\t\r\n,')


def read_tsv(path: Path) -> Table:
    """Read a file of tab-separated values, with or without quotation marks around fields.

    Raises:
        DataError: a line does not fit the header, or the file can be read in two ways; names the line.
    """
    if not any('"' in line for line in read_lines(path, encoding_of(path))):
        return to_table(path, plain_records(path), TAB)
    quoted, quoted_error = _attempt(path, quoted_records)
    plain, plain_error = _attempt(path, lambda path, _: plain_records(path))
    if quoted is not None and (plain is None or _quoted_is_sure(path, quoted, plain)):
        return _with_quotes(quoted, "double")
    if plain is not None and not _header_is_quoted(plain):
        _check_plain(path)
        return _with_quotes(plain, "none")
    raise DataError(
        f"{quoted_error}" + (f"\n  as a file without such marks: {plain_error}" if plain_error else "")
    ) from quoted_error


def plain_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file in which a quotation mark is a character like any other."""
    for number, line in enumerate(read_lines(path, encoding_of(path)), 1):
        yield Record(number, line.rstrip("\r\n").split(TAB), line)


def _attempt(
    path: Path, records: Callable[[Path, str], Iterator[Record]]
) -> tuple[Table | None, DataError | None]:
    try:
        return to_table(path, records(path, TAB), TAB), None
    except DataError as error:
        return None, error


def _with_quotes(table: Table, quotes: str) -> Table:
    return Table(table.columns, table.lines, {**table.counts, "quotes": quotes})


def _quoted_is_sure(path: Path, quoted: Table, plain: Table) -> bool:
    """Whether the marks stand as a known writer puts them; both readings are possible.

    Raises:
        DataError: the readings differ in their number of rows.
    """
    if len(quoted.lines) != len(plain.lines):
        pairs = zip_longest(quoted.lines.tolist(), plain.lines.tolist())
        line = next(b for a, b in pairs if a != b) - 1
        raise DataError(
            f"{path}, line {line}: a quotation mark opens a field that ends on a later line, or is a part of "
            f"the text; both are possible: double the mark if it is text, {AS_JSONL}"
        )
    if _header_is_quoted(plain):
        return True
    columns = [
        list(zip(read.to_pylist(), raw.to_pylist(), strict=True))
        for read, raw in zip(quoted.columns.columns, plain.columns.columns, strict=True)
    ]
    return any(all(_written_so(pairs, marks) for pairs in columns) for marks in QUOTED_FOR)


def _header_is_quoted(plain: Table) -> bool:
    return any(name.startswith('"') for name in plain.columns.column_names)


def _written_so(pairs: Sequence[tuple[str, str]], marks: str) -> bool:
    """Whether all fields of a column are quoted, or exactly those that hold one of `marks`."""
    everywhere = all(raw.startswith('"') for _, raw in pairs if raw)
    return everywhere or all(
        raw.startswith('"') == any(mark in value for mark in marks) for value, raw in pairs
    )


def _check_plain(path: Path) -> None:
    """Refuse a plain reading of fields that a writer of quotation marks has made, escapes included."""
    for record in plain_records(path):
        for value in record.values:
            if len(value) > 2 and value[0] == value[-1] == '"' and _has_escapes(value[1:-1]):
                raise DataError(
                    f"{path}, line {record.line}: quotation marks enclose a field and are escaped within it, "
                    f"but not so in the whole file; quote every such field alike, {AS_JSONL}"
                )


def _has_escapes(inner: str) -> bool:
    return r"\"" in inner or ('""' in inner and '"' not in inner.replace('""', ""))
