"""What every reader returns: columns, the line on which each row begins, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

CHUNK_ROWS = 10_000  # rows held as Python objects before they become Arrow


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    `lines[i]` is the line on which row i begins (of parquet, which has no lines, the number of the row).
    `mixed` names the columns that no one type can hold, each with the kinds of its values and the line where
    each kind is first; such a column is held as text. `counts` is for the data report: at least `records`.
    """

    columns: pa.Table
    lines: np.ndarray
    counts: Mapping[str, Any]
    mixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unit: str = "line"


class TextColumns:
    """Gathers rows of text into Arrow, chunk by chunk."""

    def __init__(self, names: Sequence[str]) -> None:
        self._schema = pa.schema([(name, pa.large_string()) for name in names])
        self._rows: list[Sequence[str]] = []
        self._batches: list[pa.RecordBatch] = []
        self._lines: list[int] = []

    def append(self, line: int, values: Sequence[str]) -> None:
        """Add the row that begins on a line."""
        self._lines.append(line)
        self._rows.append(values)
        if len(self._rows) == CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [pa.array(values, pa.large_string()) for values in columns]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows = []

    def finish(self, counts: Mapping[str, Any]) -> Table:
        """Return the table of all rows."""
        self._flush()
        columns = pa.Table.from_batches(self._batches, self._schema)
        return Table(columns, np.array(self._lines, dtype=np.int64), {"records": columns.num_rows, **counts})
