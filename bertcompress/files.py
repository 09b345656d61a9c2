"""Files written whole or not at all (temporary name, fsync, rename), JSON read back, and hashes of both.

Everything that a run keeps goes through here, so that it can be killed at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bertcompress.errors import RunFolderError

HASH_CHUNK = 1 << 20  # bytes


def hash_inputs(inputs: Mapping[str, Any]) -> str:
    """sha256 of the inputs as canonical JSON; the order of keys does not matter.

    Raises:
        TypeError: a value is not JSON.
    """
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """What `RunFolder.write_json` wrote.

    Raises:
        RunFolderError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{path}: missing; the stage that writes it has not run in this folder"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise RunFolderError(
            f"{path}: not readable as JSON ({error}); delete its folder and run again"
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; folders that are missing are made."""
    make_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def make_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary path)` write a file that appears at `path` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(temporary))
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes it the owner's alone; give the file what any new file here has.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Make a rename last: the name lives in the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
