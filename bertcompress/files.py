"""Files written whole or not at all (temporary name, fsync, rename), JSON read back, and hashes of both.

Everything that a run keeps goes through here, so that it can be killed at any moment."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertcompress.errors import BertCompressError, OutputError, RunFolderError

HASH_CHUNK = 1 << 20  # bytes
# What the system says of a disk that takes no more. Libraries in C++ and Rust put its words into messages of
# their own.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS,)


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
        give_usual_mode(Path(temporary), 0o666)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def give_usual_mode(path: Path, mode: int) -> None:
    """Give a file or folder that was made for its owner alone the mode that any new one here has."""
    os.chmod(path, mode & ~_umask())


@contextmanager
def plain_write_errors(folder: Path) -> Iterator[None]:
    """Turn the errors of a full or read-only disk, whichever library has met it, into one message.

    Raises:
        OutputError: the disk that holds `folder`, or the one for temporary files, takes no more.
    """
    try:
        yield
    except BertCompressError:
        raise
    except Exception as error:
        if _is_of(error, DISK_FULL):
            raise OutputError(_full_disk(folder)) from error
        if _is_of(error, READ_ONLY):
            raise OutputError(f"{folder}: lies on a disk that is read-only; choose another folder") from error
        raise


def check_output_file(path: Path | None, option: str = "--output") -> None:
    """Refuse an output file that could not be written, before the work that makes it; None is no output.

    Raises:
        OutputError: it is a folder, lies in none, or its folder cannot be written.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{option} {path}: is a folder; name a file")
    if not folder.is_dir():
        raise OutputError(f"{option} {path}: there is no folder {folder}; make it, or choose another file")
    writable = os.access(path if path.exists() else folder, os.W_OK)
    if not writable or os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise OutputError(f"{option} {path}: cannot be written; choose another file")


def _is_of(error: BaseException | None, numbers: tuple[int, ...]) -> bool:
    """Whether the system's error lies behind this one, by its number or by its words."""
    words = [*(os.strerror(number) for number in numbers), *(f"os error {number})" for number in numbers)]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(word in str(error) for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


def _full_disk(folder: Path) -> str:
    """What to free where; the disk of temporary files may be the full one."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    temporary = Path(tempfile.gettempdir())
    free = " and ".join(
        f"{shutil.disk_usage(path).free / 2**20:,.1f} MiB in {path}{words}"
        for path, words in {existing: "", temporary: ", which is for temporary files (TMPDIR)"}.items()
    )
    return (
        f"{folder}: the disk is full; free now are {free}. Delete what is not needed there, or choose "
        "another folder, and give the same command again"
    )


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
