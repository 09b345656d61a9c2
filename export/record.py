"""The files of an exported folder and their hashes in export.json: what is served is what was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertcompress.errors import ExportError
from bertcompress.files import hash_file

RECORD = "export.json"
ADVICE = "export the model again"


def hashed_files(folder: Path) -> dict[str, str]:
    """The sha256 of every file in the folder, the record aside, by the file's name."""
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.name != RECORD}


def read_record(folder: Path, advice: str = ADVICE) -> dict[str, Any]:
    """What export.json of a folder says.

    Raises:
        ExportError: there is none, or it is not one of this version.
    """
    path = folder / RECORD
    if not folder.is_dir() or not path.is_file():
        raise ExportError(f"{path}: missing; give a folder that an export wrote")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: not readable as JSON ({error}); {advice}") from error
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise ExportError(f"{path}: lists no files, as one of an earlier version; {advice}")
    return record


def check_files(folder: Path, record: Mapping[str, Any], names: list[str]) -> None:
    """Hold the named files against the record's hashes; weights that lie beside one (NAME.data) belong to it.

    Raises:
        ExportError: a file is not listed, is missing, or was changed since the export.
    """
    listed: Mapping[str, str] = record["files"]
    names = [*names, *(f"{name}.data" for name in names if f"{name}.data" in listed)]
    problems = []
    for name in names:
        path = folder / name
        if name not in listed:
            here = "there, but this export did not write it" if path.exists() else "missing"
            problems.append(f"{name}: {here}")
        elif not path.is_file():
            problems.append(f"{name}: missing")
        elif hash_file(path) != listed[name]:
            problems.append(f"{name}: changed since the export")
    if problems:
        raise ExportError.from_problems(str(folder), [*problems, ADVICE])
