"""A run's folder: one folder a stage, a manifest of what each was made from, and a lock.

A stage whose inputs have the hash in the manifest is finished. Every write appears whole or not at all
(temporary name, fsync, rename), so that a run can be killed at any moment. A stage that is made anew is built
in a folder beside its old result, which stays in use until the new one is whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bertcompress.errors import RunFolderError
from bertcompress.files import hash_inputs, plain_write_errors, read_json, write_atomically

MANIFEST = "manifest.json"
LOCK = ".lock"
BEGUN = ".begun-from"


class RunFolder:
    """The folder at `path`; paths that are written are relative to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Finished stages that this process is making anew, each in its `_beside` folder.
        self._rebuilt: set[str] = set()

    def exists(self) -> bool:
        """Whether a stage was ever finished here."""
        return (self.path / MANIFEST).is_file()

    def stage(self, name: str) -> Path:
        """A stage's folder, which exists from `begin` on; the new one while the stage is made anew."""
        return self._beside(name) if name in self._rebuilt else self.path / name

    def in_progress(self, name: str) -> Path:
        """The folder of a stage that another process is making."""
        beside = self._beside(name)
        return beside if beside.is_dir() else self.path / name

    def _beside(self, name: str) -> Path:
        return self.path / f".{name}.new"

    def _retired(self, name: str) -> Path:
        return self.path / f".{name}.old"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against a second run; the lock ends with the process, however it ends.

        Raises:
            RunFolderError: another run holds it, or the folder holds something else than a run.
            OutputError: the disk is full or read-only, before or while the lock is held.
        """
        self._check_is_ours()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / LOCK).open("a")
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: cannot be written: {error.strerror}; choose another --run-dir"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunFolderError(
                    f"{self.path}: another run is using it; wait for it, or choose another --run-dir"
                ) from error
            with plain_write_errors(self.path):
                yield

    def _check_is_ours(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path}: is a file; choose another --run-dir")
        ours = (self.path / MANIFEST).exists() or (self.path / LOCK).exists()
        if self.path.is_dir() and not ours and any(self.path.iterdir()):
            raise RunFolderError(
                f"{self.path}: holds files, but no {MANIFEST} of a run; choose an empty or new --run-dir"
            )

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file whole or not at all, its folders made on the way."""
        stage, _, rest = name.partition("/")
        path = self.stage(stage) / rest
        write_atomically(path, content)
        return path

    def write_text(self, name: str, content: str) -> Path:
        """Write UTF-8 text whole or not at all."""
        return self.write_bytes(name, content.encode())

    def write_json(self, name: str, content: Any) -> Path:
        """Write JSON whole or not at all."""
        return self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def is_finished(self, stage: str, inputs: Mapping[str, Any]) -> bool:
        """Whether the stage was finished from these very inputs."""
        entry = self._stages().get(stage)
        return (
            entry is not None and entry["inputs_hash"] == hash_inputs(inputs) and self.stage(stage).is_dir()
        )

    def begin(
        self,
        stage: str,
        *,
        keep: Sequence[str] = (),
        caches: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> Path:
        """Make the stage's folder and empty it, but for the names in `keep` and `caches`.

        With `inputs`, what is in `keep` stays only if the stage was last begun from the same ones; what is in
        `caches` always stays. Where the stage has a finished result, that one stays untouched until
        `mark_finished`, and the folder is a new one beside it, with copies of the caches.
        """
        _remove(self._retired(stage))
        finished = self.path / stage
        if stage in self._stages() and finished.is_dir():
            self._rebuilt.add(stage)
        else:
            _remove(self._beside(stage))
        folder = self.stage(stage)
        folder.mkdir(parents=True, exist_ok=True)
        begun, origin = folder / BEGUN, None if inputs is None else hash_inputs(inputs)
        if origin and not (begun.is_file() and begun.read_text(encoding="utf-8") == origin):
            keep = ()
        for entry in folder.iterdir():
            if entry.name not in (*keep, *caches):
                _remove(entry)
        if stage in self._rebuilt:
            _copy_missing(caches, finished, folder)
        if origin:
            # Last: a run killed above finds no origin, and keeps nothing that is not of these inputs.
            write_atomically(begun, origin.encode())
        return folder

    def mark_finished(self, stage: str, inputs: Mapping[str, Any], seconds: float) -> None:
        """Put the stage's new folder in its place, and record from what and in what time it was made."""
        self._swap_in(stage)
        entry = {
            "inputs_hash": hash_inputs(inputs),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
        }
        self.write_json(MANIFEST, {"stages": self._stages() | {stage: entry}})

    def _swap_in(self, stage: str) -> None:
        if stage not in self._rebuilt:
            return
        # First of all: a run killed between the renames must not find the stage finished.
        self.write_json(
            MANIFEST, {"stages": {name: entry for name, entry in self._stages().items() if name != stage}}
        )
        os.replace(self.path / stage, self._retired(stage))
        os.replace(self._beside(stage), self.path / stage)
        self._rebuilt.discard(stage)
        _remove(self._retired(stage))

    def stage_seconds(self) -> list[dict[str, Any]]:
        """`name` and `seconds` of every finished stage, in the order they were finished.

        A stage that is being made anew is none of them.
        """
        entries = sorted(self._stages().items(), key=lambda item: item[1]["finished_at"])
        return [
            {"name": name, "seconds": entry["seconds"]}
            for name, entry in entries
            if name not in self._rebuilt
        ]

    def _stages(self) -> dict[str, Any]:
        if not self.exists():
            return {}
        manifest = read_json(self.path / MANIFEST)
        stages = manifest.get("stages") if isinstance(manifest, dict) else None
        if not isinstance(stages, dict):
            raise RunFolderError(f"{self.path / MANIFEST}: not a run's manifest; choose another --run-dir")
        return stages


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_missing(names: Sequence[str], source: Path, target: Path) -> None:
    """Copy the named files and folders that `target` lacks."""
    for name in names:
        origin, copied = source / name, target / name
        if copied.exists() or not origin.exists():
            continue
        if origin.is_dir():
            shutil.copytree(origin, copied)
        else:
            shutil.copy2(origin, copied)
