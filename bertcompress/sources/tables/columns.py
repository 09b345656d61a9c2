"""Columns of JSON values: each in the type that its values share, or, with a note, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bertcompress.errors import DataError
from bertcompress.sources.tables.table import CHUNK_ROWS, Table

KINDS = {str: "text", bool: "booleans", int: "numbers", float: "numbers", list: "lists", dict: "objects"}


class TypedColumns:
    """Gathers rows of named values into Arrow, chunk by chunk; a name that a row lacks is a missing value."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Mapping[str, Any]] = []
        self._lines: list[int] = []
        self._chunks: list[tuple[int, dict[str, pa.Array]]] = []  # (rows, columns)
        self._kinds: dict[str, dict[str, int]] = {}  # column: kind: first line
        self._untyped: set[str] = set()

    def append(self, line: int, row: Mapping[str, Any]) -> None:
        """Add the row that begins on a line."""
        for name, value in row.items():
            kinds = self._kinds.setdefault(name, {})
            if value is not None:
                kinds.setdefault(KINDS[type(value)], line)
        self._rows.append(row)
        self._lines.append(line)
        if len(self._rows) == CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        chunk = {name: self._array(name, [row.get(name) for row in self._rows]) for name in self._kinds}
        self._chunks.append((len(self._rows), chunk))
        self._rows = []

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        if len(self._kinds[name]) > 1:  # Arrow would take false for 0.0 beside numbers.
            self._untyped.add(name)
        try:
            array = _as_text(values) if name in self._untyped else pa.array(values)
        except UnicodeEncodeError as error:
            raise self._half_pair(name, values) from error
        except (pa.ArrowException, OverflowError, TypeError):
            self._untyped.add(name)
            return _as_text(values)
        return array.cast(pa.large_string()) if pa.types.is_string(array.type) else array

    def _half_pair(self, name: str, values: Sequence[Any]) -> DataError:
        """The refusal of half of a surrogate pair, which no encoding of text can hold."""
        lines = self._lines[len(self._lines) - len(values) :]
        line = next(line for line, value in zip(lines, values, strict=True) if not _is_encodable(value))
        return DataError(
            f"{self._path}, line {line}: {name!r} holds half of a surrogate pair (\\ud800 to \\udfff), "
            "which is no character; write both halves or the character itself"
        )

    def finish(self, counts: Mapping[str, Any]) -> Table:
        """Return the table of all rows."""
        self._flush()
        columns = {name: self._column(name) for name in self._kinds}
        mixed = {name: kinds for name, kinds in self._kinds.items() if name in self._untyped}
        return Table(
            pa.table(columns),
            np.array(self._lines, dtype=np.int64),
            {"records": len(self._lines), **counts},
            mixed,
        )

    def _column(self, name: str) -> pa.ChunkedArray:
        """All chunks of a column in one type, which is text where no other holds every value unchanged."""
        chunks = [chunk.get(name, pa.nulls(size)) for size, chunk in self._chunks]
        types = {chunk.type for chunk in chunks} - {pa.null()}
        if len(self._kinds[name]) <= 1 and name not in self._untyped:
            try:
                target = pa.float64() if types == {pa.int64(), pa.float64()} else _one_type(types)
                return pa.chunked_array([chunk.cast(target) for chunk in chunks], target)
            except pa.ArrowException:
                pass
        self._untyped.add(name)
        return pa.chunked_array([_as_text(chunk.to_pylist()) for chunk in chunks], pa.large_string())


def _one_type(types: set[pa.DataType]) -> pa.DataType:
    if len(types) > 1:
        return pa.unify_schemas([pa.schema([("", each)]) for each in types], promote_options="permissive")[
            0
        ].type
    return next(iter(types), pa.null())


def _is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(values: Sequence[Any]) -> pa.Array:
    """Values as text: texts as they are, whole numbers without a decimal point, all else as JSON."""
    return pa.array([_word(value) for value in values], pa.large_string())


def _word(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
