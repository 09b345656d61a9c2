"""What was measured once on this machine: latencies of whole networks and latency tables, in one SQLite file.

A clock gives another number every time; a rerun that reads the first one decides the same way again.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bertcompress import __version__
from bertcompress.errors import RunFolderError
from bertcompress.measure import Conditions
from bertcompress.space import Architecture

CACHE_VARIABLE = "BERTCOMPRESS_CACHE"
FILE_NAME = "latency.sqlite"


def default_cache_dir() -> Path:
    """The folder that BERTCOMPRESS_CACHE names, else ~/.cache/bertcompress."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "bertcompress"


class LatencyStore:
    """Values by JSON key; several processes may use one file, and the first value written stays.

    Every key carries the version of this package, since another version may export another graph. The folder
    is made on the first write.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        self.path = (default_cache_dir() if cache_dir is None else cache_dir) / FILE_NAME

    def get(self, key: dict[str, Any]) -> Any | None:
        """The stored value, or None.

        Raises:
            RunFolderError: the file is no latency store.
        """
        if not self.path.exists():
            return None
        with self._connection() as connection:
            row = connection.execute("SELECT value FROM measured WHERE key = ?", (_text(key),)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: dict[str, Any], value: Any) -> Any:
        """Stores a JSON value unless the key has one, and returns what is stored now.

        Raises:
            RunFolderError: the file is no latency store, or the folder cannot be written.
        """
        with self._connection() as connection:
            row = (_text(key), json.dumps(value))
            connection.execute("INSERT OR IGNORE INTO measured VALUES (?, ?)", row)
        return self.get(key)

    def latency_ms(
        self,
        architecture: Architecture,
        conditions: Conditions,
        machine: str,
        measure_ms: Callable[[], float],
    ) -> float:
        """The whole network's latency: the stored one, else that of `measure_ms`, which is then stored."""
        key = {
            "architecture": architecture.to_dict(),
            "conditions": conditions.to_dict(),
            "machine": machine,
        }
        stored = self.get(key)
        return float(self.put(key, measure_ms()) if stored is None else stored)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS measured (key TEXT PRIMARY KEY, value TEXT)")
                yield connection
        except (OSError, sqlite3.Error) as error:
            advice = f"delete it, or name another folder in {CACHE_VARIABLE}"
            raise RunFolderError(f"{self.path}: not usable as latency store ({error}); {advice}") from error


def _text(key: dict[str, Any]) -> str:
    return json.dumps({**key, "bertcompress": __version__}, sort_keys=True)
