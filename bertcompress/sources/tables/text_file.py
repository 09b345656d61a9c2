"""The lines of a text file in the encoding that its first bytes tell; never a guess between encodings."""

from __future__ import annotations

import codecs
from collections.abc import Generator
from pathlib import Path

from bertcompress.errors import DataError

# The longer mark first: UTF-32's little-endian mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OTHER_KINDS = (
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet (xlsx); save it as csv in UTF-8"),
    (b"PAR1", "parquet; name it .parquet"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself by `git lfs pull`"),
    (b"<!DOCTYPE", "an HTML page; download the file itself"),
)


def encoding_of(path: Path) -> str:
    """Return the encoding that the byte order mark names; UTF-8 without one.

    Raises:
        DataError: the first bytes are those of another kind of file, or of UTF-16 without a mark.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    for magic, kind in OTHER_KINDS:
        if head.startswith(magic):
            raise DataError(f"{path}: not text: it begins like {kind}")
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head.split(b"\n", 1)[0]:
        raise DataError(
            f"{path}, line 1: holds NUL bytes, as UTF-16 without a byte order mark does; save it as UTF-8"
        )
    return "utf-8"


def read_lines(path: Path, encoding: str) -> Generator[str, None, None]:
    """Yield the lines, each with its own line end; lines end at LF, CR or CRLF and nowhere else.

    Raises:
        DataError: a byte is not of this encoding; names its value and line.
    """
    # newline="" keeps the line ends, which a quoted field may hold.
    with path.open(encoding=encoding, newline="") as file:
        try:
            yield from file
        except UnicodeError as error:
            raise _undecodable(path, encoding, error) from error


def _undecodable(path: Path, encoding: str, error: UnicodeError) -> DataError:
    name = encoding.removesuffix("-sig").upper()
    advice = f"the file is not {name}; convert it, for example by `iconv -f WINDOWS-1252 -t UTF-8`"
    if name == "UTF-8":
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as wrong:
                    found = f"byte 0x{line[wrong.start]:02x} at position {wrong.start + 1} of the line"
                    return DataError(f"{path}, line {number}: {found} is no UTF-8; {advice}")
    return DataError(f"{path}: not readable as {name} ({error}); {advice}")
