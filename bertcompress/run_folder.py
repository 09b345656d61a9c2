"""A run's folder: one folder a stage, a manifest of what each was made from, and writes that are whole or absent."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bertcompress.errors import RunFolderError

MANIFEST_NAME = "manifest.json"
LOCK_NAME = ".lock"


def hash_inputs(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of the inputs as canonical JSON: the same for equal values in any order of keys."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that, killed at any moment, the old or the new content is there; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        RunFolderError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(f"{path}: missing; run the stage {path.parent.name} again") from None
    except ValueError as error:
        raise RunFolderError(f"{path}: not JSON ({error}); delete {path.parent} and run again") from error


class RunFolder:
    """The folder of one run. Nothing is made on disk before the first write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether a run has been here.

        Raises:
            RunFolderError: the path holds something that is not a run.
        """
        if (self.path / MANIFEST_NAME).is_file():
            return True
        if self.path.is_file() or (self.path.is_dir() and any(p.name != LOCK_NAME for p in self.path.iterdir())):
            raise RunFolderError(f"{self.path}: exists and is no run folder; give another with --run-dir")
        return False

    def stage(self, name: str) -> Path:
        """The folder of a stage, which may not exist yet."""
        return self.path / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as JSON at a path relative to the folder."""
        return self.write_text(name, json.dumps(value, indent=1) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write text at a path relative to the folder."""
        write_atomically(self.path / name, text.encode())
        return self.path / name

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one process; makes it, with an empty manifest, when it is new.

        Raises:
            RunFolderError: another process runs here, or the folder cannot be made.
        """
        is_new = not self.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / LOCK_NAME).open("w")
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunFolderError(f"{self.path}: another run is at work here; wait for it to end") from None
            if is_new:
                self.write_json(MANIFEST_NAME, {"stages": {}})
            yield

    def is_finished(self, stage: str, inputs: Mapping[str, Any]) -> bool:
        """Whether the stage was finished from exactly these inputs."""
        entry = self._manifest()["stages"].get(stage)
        return entry is not None and entry["inputs_hash"] == hash_inputs(inputs) and self.stage(stage).is_dir()

    def begin(self, stage: str) -> Path:
        """An empty folder for a stage that starts over; what an earlier attempt left is removed."""
        manifest = self._manifest()
        if manifest["stages"].pop(stage, None) is not None:
            self.write_json(MANIFEST_NAME, manifest)
        folder = self.stage(stage)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder

    def mark_finished(self, stage: str, inputs: Mapping[str, Any], seconds: float) -> None:
        """Note that the stage is whole, made from these inputs in so many seconds."""
        manifest = self._manifest()
        manifest["stages"][stage] = {
            "inputs_hash": hash_inputs(inputs),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
        }
        self.write_json(MANIFEST_NAME, manifest)

    def stage_seconds(self) -> list[dict[str, Any]]:
        """Name and seconds of every finished stage, in the order in which they were finished."""
        stages = self._manifest()["stages"]
        return [{"name": name, "seconds": entry["seconds"]} for name, entry in stages.items()]

    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = read_json(self.path / MANIFEST_NAME)
        return manifest
