"""Texts without labels, from a table or from lines, for what only has to see them (`export-model --rows`)."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from bertcompress.errors import DataError
from bertcompress.sources.tables import READERS, read_table

Text: TypeAlias = str | tuple[str, str]
STRINGS = ("string", "large_string")


def read_texts(path: Path, most: int) -> list[Text]:
    """Return the first texts of a file that are not blank, at most `most`, or pairs of texts.

    A table (by its suffix) has a column "text", or one column of text, or two for pairs; any other file has a
    text a line.

    Raises:
        DataError: the file cannot be read, or holds no text.
    """
    texts = _of_table(path) if path.suffix.lower() in READERS else _lines(path)
    kept = [text for text in texts if all(part.strip() for part in _parts(text))]
    if not kept:
        raise DataError(f"{path}: holds no text; give a table with a column text, or a text a line")
    return kept[:most]


def _lines(path: Path) -> list[Text]:
    try:
        return [*path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error


def _of_table(path: Path) -> list[Text]:
    columns = read_table(path).columns
    strings = [name for name in columns.column_names if str(columns.schema.field(name).type) in STRINGS]
    names = ["text"] if "text" in strings else strings
    if len(names) not in (1, 2):
        raise DataError(
            f"{path}: has the text columns {', '.join(strings) or 'none'}; "
            'give one named "text", or one or two in all'
        )
    values = [columns.column(name).to_pylist() for name in names]
    if len(values) == 1:
        return [text for text in values[0] if text is not None]
    return [(first, second) for first, second in zip(*values, strict=True) if first and second]


def _parts(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text
