"""Parquet, with its own types. A file is a whole table: the name of its folder adds no column."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bertcompress.errors import DataError
from bertcompress.sources.tables.table import Table

# What the library `datasets` writes about its columns, names of classes among it.
DATASETS_KEY = b"huggingface"


def read_parquet(path: Path) -> Table:
    """Read a parquet file; categories become the values that they stand for.

    Raises:
        DataError: it is no parquet file, names a column twice, or holds text that is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            columns = pq.ParquetFile(file).read()
        columns = pa.table(
            [_plain(column) for column in columns.columns], schema=_plain_schema(columns.schema)
        )
        columns.validate(full=True)
    except (pa.ArrowException, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: not readable as parquet: {reason}; write it anew") from error
    repeated = [name for name, count in Counter(columns.column_names).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: names {', '.join(map(repr, repeated))} more than once; rename one")
    rows = np.arange(1, columns.num_rows + 1)
    return Table(columns, rows, {"records": columns.num_rows}, unit="row")


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(_plain_type(column.type))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    return pa.large_string() if pa.types.is_string_view(kind) else kind


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key == DATASETS_KEY}
    return pa.schema([pa.field(each.name, _plain_type(each.type)) for each in schema], metadata)
