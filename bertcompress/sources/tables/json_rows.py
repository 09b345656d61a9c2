"""JSON objects, one a row: a line each (jsonl), or a list of them (json). Values keep their types.

A key that occurs twice in an object, a number that JSON does not have and half of a surrogate pair are
refused by line: a parser that lets them pass reads another value than was written. NaN, as Python and pandas
write it, is a missing value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from bertcompress.errors import DataError
from bertcompress.sources.tables.columns import TypedColumns
from bertcompress.sources.tables.table import Table
from bertcompress.sources.tables.text_file import encoding_of, read_lines

EXAMPLE = 'such as {"text": "...", "label": "..."}'


def read_json_lines(path: Path) -> Table:
    """Read a file with one JSON object a line.

    Raises:
        DataError: a line is not a JSON object, or holds what JSON cannot say; names the line.
    """
    columns = TypedColumns(path)
    blank_lines = 0
    for number, line in enumerate(read_lines(path, encoding_of(path)), 1):
        if line.strip():
            columns.append(number, _parse(path, number, line.strip()))
        else:
            blank_lines += 1
    return columns.finish({"blank_lines": blank_lines})


def read_json_list_or_lines(path: Path) -> Table:
    """Read a file that holds a list of JSON objects, or one object a line.

    Raises:
        DataError: it holds neither, or what JSON cannot say; names the line.
    """
    lines = read_lines(path, encoding_of(path))
    start = next((line.lstrip() for line in lines if line.strip()), "")
    lines.close()
    if not start.startswith("["):
        table = read_json_lines(path)
        names, types = table.columns.column_names, table.columns.schema.types
        if table.columns.num_rows == 1 and all(map(pa.types.is_nested, types)):
            raise DataError(
                f"{path}: found one object that holds {', '.join(names)}; write a list of objects, one a row "
                "(of pandas: to_json with orient='records')"
            )
        return table
    columns = TypedColumns(path)
    for line, row in _elements(path, "".join(read_lines(path, encoding_of(path)))):
        columns.append(line, row)
    return columns.finish({"blank_lines": 0})


def _elements(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of the list that `text` holds, each with the line on which it begins."""
    position, line, counted = text.index("[") + 1, 1, 0
    separator = False
    while True:
        position = _skip_space(text, position)
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]" and not separator:
            break
        try:
            value, position = DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, line, error) from error
        yield line, _object(path, line, value)
        position = _skip_space(text, position)
        separator = text[position : position + 1] == ","
        if not separator and text[position : position + 1] != "]":
            raise DataError(
                f"{path}, line {line}: not readable as json: a comma or ] is missing after the object"
            )
        position += separator
    if text[position + 1 :].strip():
        raise DataError(f"{path}: not readable as json: text follows the end of the list")


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


def _parse(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, line, error) from error
    return _object(path, line, value)


def _object(path: Path, line: int, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise DataError(f"{path}, line {line}: found {KINDS[type(value)]}; every line is a JSON object {EXAMPLE}")


def _unreadable(path: Path, line: int, error: Exception) -> DataError:
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    kind = path.suffix.lower()[1:]
    return DataError(
        f"{path}, line {line}: not readable as {kind}: {reason}; every line is a whole JSON object {EXAMPLE}"
        + ("" if kind == "jsonl" else ", or the file is one list of such objects")
    )


def _unrepeated(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found


def _constant(word: str) -> None:
    """What NaN stands for; the infinities are refused."""
    if word != "NaN":
        _no_number(word)


def _number(word: str) -> float:
    value = float(word)
    if value in (float("inf"), float("-inf")):
        _no_number(word)
    return value


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number that can be held")


DECODER = json.JSONDecoder(object_pairs_hook=_unrepeated, parse_constant=_constant, parse_float=_number)
KINDS = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
