"""Comma-separated values as RFC 4180 has them, read by Python's csv module in its strict mode.

Every value is text. A row with more or fewer fields than the header, a quotation mark that closes nothing,
and a quoted field that swallows whole rows are refused by line: each is how a table is read as another one.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bertcompress.errors import DataError
from bertcompress.sources.tables.table import Table, TextColumns
from bertcompress.sources.tables.text_file import encoding_of, read_lines

MAX_FIELD = 2**31 - 1  # characters; the csv module stops at 131,072 by itself
MAX_CLASSES = 100  # different values of a column by which a swallowed row is recognised
AS_JSONL = "or write the file as jsonl, which needs no quotation marks"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
SPACE_BEFORE_QUOTE = re.compile(r'\s+"')
LINE_ENDS = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Record:
    """One record: the line it begins on, its fields, and the lines as they stand in the file."""

    line: int
    values: list[str]
    raw: str
    num_lines: int = 1


def read_csv(path: Path) -> Table:
    """Read a file of comma-separated values.

    Raises:
        DataError: a line is not as the standard has it, or could be read in two ways; names the line.
    """
    return to_table(path, quoted_records(path, ","), ",")


@contextmanager
def long_fields() -> Iterator[None]:
    """Within the block the csv module reads fields of any length."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def quoted_records(path: Path, delimiter: str) -> Iterator[Record]:
    """Yield the records of a file in which quotation marks enclose fields, doubled within them.

    Raises:
        DataError: a quotation mark is never closed, or text follows a closed field.
    """
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in read_lines(path, encoding_of(path)):
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            with long_fields():
                values = next(reader, None)
        except csv.Error as error:
            raise _misquoted(path, line, reader.line_num, "".join(taken), str(error)) from error
        if values is None:
            return
        yield Record(line, values, "".join(taken), len(taken))
        line = reader.line_num + 1
        taken.clear()


def _misquoted(path: Path, first: int, last: int, raw: str, reason: str) -> DataError:
    if "unexpected end" in reason:
        found = "the quotation mark that opens a field on it is never closed"
    elif r"\"" in raw:
        found = "quotation marks are escaped by backslashes; they are doubled in a csv file"
    else:
        found = "text follows a quotation mark that closes a field; double those that belong to a text"
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    return DataError(f"{path}, {lines}: not readable as {path.suffix.lower()[1:]}: {found}, {AS_JSONL}")


def to_table(path: Path, records: Iterable[Record], delimiter: str) -> Table:
    """Hold the records to the header and return them as columns of text.

    Raises:
        DataError: the header names a column twice or is separated otherwise, or a record does not fit it.
    """
    records = iter(records)
    header = next((record for record in records if not _is_blank(record)), None)
    if header is None:
        raise DataError(f"{path}: holds no rows; it needs a text and a label for each row")
    named = _named_columns(path, header, delimiter)
    columns = TextColumns([header.values[index] for index in named])
    blank_lines = header.line - 1
    broken: list[Record] = []
    classes: list[Counter[str]] = [Counter() for _ in header.values]
    for record in records:
        if _is_blank(record):
            blank_lines += 1
            continue
        _check_width(path, record, header, delimiter)
        _count_classes(classes, record.values)
        if record.num_lines > 1:
            broken.append(record)
        columns.append(record.line, [record.values[index] for index in named])
    _check_swallowed(path, broken, classes, delimiter)
    return columns.finish(
        {
            "blank_lines": blank_lines,
            "rows_with_line_breaks": len(broken),
            "unnamed_columns": len(header.values) - len(named),
        }
    )


def _is_blank(record: Record) -> bool:
    return len(record.values) < 2 and not record.raw.strip()


def _named_columns(path: Path, header: Record, delimiter: str) -> list[int]:
    """The positions of the columns that have a name; others cannot be asked for and are left out."""
    names = header.values
    repeated = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    if repeated:
        found = ", ".join(map(repr, repeated))
        raise DataError(f"{path}, line {header.line}: the header names {found} more than once; rename one")
    if len(names) == 1:
        other = next((mark for mark in SEPARATORS if mark != delimiter and mark in names[0]), None)
        if other is not None:
            remedy = "name it .tsv" if other == "\t" else "name it .csv" if other == "," else "write it anew"
            raise DataError(
                f"{path}, line {header.line}: the header is separated by {SEPARATORS[other]}: {names[0]!r}; "
                f"a {path.suffix} file is separated by {SEPARATORS[delimiter]}: {remedy}"
            )
    return [index for index, name in enumerate(names) if name.strip()]


def _check_width(path: Path, record: Record, header: Record, delimiter: str) -> None:
    found, wanted = len(record.values), len(header.values)
    if found != wanted:
        separators = SEPARATORS[delimiter]
        more = f"put a field that holds {separators} or line breaks in quotation marks"
        raise DataError(
            f"{path}, line {record.line}: not readable as {path.suffix.lower()[1:]}: it has {found} "
            f"field{'' if found == 1 else 's'}, and the header has {wanted} ({', '.join(header.values)}); "
            f"{more}, {AS_JSONL}"
        )
    for value in record.values if '"' in record.raw else ():
        if SPACE_BEFORE_QUOTE.match(value) and _stands_bare(value, record.raw, delimiter):
            raise DataError(
                f"{path}, line {record.line}: a space stands before the quotation mark of a field, which "
                f"makes the mark a part of the text; remove the space, {AS_JSONL}"
            )


def _stands_bare(value: str, raw: str, delimiter: str) -> bool:
    """Whether the value stands in the file as it is, without quotation marks around it."""
    return raw.startswith(value) or delimiter + value in raw


def _count_classes(classes: Sequence[Counter[str]], values: Sequence[str]) -> None:
    """Count the values of the columns that so far have few different ones."""
    for counter, value in zip(classes, values, strict=True):
        if len(counter) <= MAX_CLASSES:
            counter[value] += 1


def _check_swallowed(
    path: Path, broken: Sequence[Record], classes: Sequence[Counter[str]], delimiter: str
) -> None:
    """Refuse a quoted field that holds what looks like whole rows: an opening mark that was meant as text."""
    for record in broken:
        for position, value in enumerate(record.values):
            line = _swallowed_row(record.values, position, value, classes, delimiter)
            if line is not None:
                raise DataError(
                    f"{path}, line {record.line}: the quoted field that begins there holds what looks like a "
                    f"row of its own ({line[:60]!r}); close or double the quotation mark, {AS_JSONL}"
                )


def _swallowed_row(
    values: Sequence[str], position: int, value: str, classes: Sequence[Counter[str]], delimiter: str
) -> str | None:
    """The first line of a field that looks like a row: of as many fields, one of them common in its column.

    The field's first line follows the fields before it, its last line precedes those after it; what stands
    next to the quotation mark there is the text itself and does not count.
    """
    lines = LINE_ENDS.split(value)
    if len(lines) == 1:
        return None
    for number, line in enumerate(lines):
        before = values[:position] if number == 0 else []
        after = values[position + 1 :] if number == len(lines) - 1 else []
        own = line.split(delimiter)
        first = len(before) + (number == 0)
        last = len(before) + len(own) - (number == len(lines) - 1)
        fields = [*before, *own, *after]
        if len(fields) == len(classes) and any(
            _is_common(fields[index], classes[index]) for index in range(first, last)
        ):
            return line
    return None


def _is_common(value: str, counter: Counter[str]) -> bool:
    return bool(value.strip()) and len(counter) <= MAX_CLASSES and counter[value] >= 2
