"""Laws of the latency store: what was measured once is read the second time, and nothing is written twice."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from latency_spaces import DIMENSIONS

from bertcompress.errors import RunFolderError
from bertcompress.latency import LatencyStore, default_cache_dir
from bertcompress.measure import Conditions
from bertcompress.space import Architecture, Operator


def test_a_whole_network_is_timed_once_a_condition_and_machine(tmp_path):
    store, architecture = LatencyStore(tmp_path), Architecture(DIMENSIONS, (Operator("conv", 3),))
    clock = iter([1.5, 2.5, 3.5, 4.5])

    def ask(conditions=Conditions(), machine="here", network=architecture):  # noqa: B008
        return store.latency_ms(network, conditions, machine, lambda: next(clock))

    assert ask() == ask() == 1.5
    assert ask(Conditions(batch_size=8)) == 2.5
    assert ask(machine="there") == 3.5
    assert ask(network=Architecture(DIMENSIONS, ())) == 4.5
    assert LatencyStore(tmp_path).latency_ms(architecture, Conditions(), "here", lambda: 9.0) == 1.5


def test_the_first_of_two_writers_wins(tmp_path):
    store = LatencyStore(tmp_path)
    threads = [threading.Thread(target=store.put, args=({"key": 1}, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = store.get({"key": 1})
    assert store.put({"key": 1}, "later") == first


def test_asking_an_empty_store_creates_nothing(tmp_path):
    assert LatencyStore(tmp_path / "cache").get({"a": 1}) is None
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_no_store_is_refused(tmp_path):
    store = LatencyStore(tmp_path)
    store.path.write_text("these are not the bytes of a database, and long enough to be read as a header")
    with pytest.raises(RunFolderError, match="not usable as latency store") as caught:
        store.get({"a": 1})
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


def test_the_cache_folder_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BERTCOMPRESS_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("BERTCOMPRESS_CACHE")
    assert default_cache_dir().name == "bertcompress"
