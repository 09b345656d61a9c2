"""Run folders: finished means made from the same inputs, a write is whole or absent, one run at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.errors import OutputError, RunFolderError
from bertcompress.files import hash_file, hash_inputs, read_json, write_atomically
from bertcompress.pipeline.run_folder import RunFolder

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_the_hash_does_not_depend_on_the_order_of_keys(inputs: dict[str, object]) -> None:
    assert hash_inputs(inputs) == hash_inputs(dict(reversed(inputs.items())))


def test_the_hash_tells_values_and_types_apart() -> None:
    assert len({hash_inputs({"a": value}) for value in (1, 2, "1", None, [1], True)}) == 6


def test_nothing_is_made_before_a_write(folder: RunFolder) -> None:
    assert not folder.exists()
    assert not folder.is_finished("search", {"seed": 0})
    assert folder.stage_seconds() == []
    assert not folder.stage("search").exists()
    assert not folder.path.exists()


def test_a_stage_is_finished_for_the_same_inputs_only(folder: RunFolder) -> None:
    folder.begin("search")
    folder.mark_finished("search", {"seed": 0, "steps": 3}, 1.5)
    again = RunFolder(folder.path)
    assert again.exists()
    assert again.is_finished("search", {"steps": 3, "seed": 0})
    assert not again.is_finished("search", {"seed": 1, "steps": 3})
    assert not again.is_finished("student", {"seed": 0, "steps": 3})
    assert again.stage_seconds() == [{"name": "search", "seconds": 1.5}]


def finish(folder: RunFolder, seed: int, content: str) -> None:
    folder.begin("search", caches=["scores"], inputs={"seed": seed})
    folder.write_text("search/result", content)
    folder.mark_finished("search", {"seed": seed}, 1.0)


def test_an_old_result_stays_until_the_new_one_is_whole(folder: RunFolder) -> None:
    finish(folder, 0, "old")
    made = folder.begin("search", inputs={"seed": 1})
    folder.write_text("search/result", "half")
    (made / "more").write_text("", encoding="utf-8")
    assert made == folder.stage("search") != folder.path / "search"
    # What another process finds, also after a kill at this point.
    seen = RunFolder(folder.path)
    assert seen.is_finished("search", {"seed": 0})
    assert not seen.is_finished("search", {"seed": 1})
    assert [path.read_text() for path in (folder.path / "search").glob("[!.]*")] == ["old"]
    assert seen.in_progress("search") == made
    folder.write_text("search/result", "new")
    folder.mark_finished("search", {"seed": 1}, 2.0)
    assert (folder.stage("search") / "result").read_text() == "new"
    assert folder.is_finished("search", {"seed": 1})
    assert not folder.is_finished("search", {"seed": 0})
    assert folder.stage_seconds() == [{"name": "search", "seconds": 2.0}]
    assert sorted(path.name for path in folder.path.iterdir()) == ["manifest.json", "search"]


def test_a_stage_made_anew_resumes_beside_its_old_result(folder: RunFolder) -> None:
    finish(folder, 0, "old")
    folder.begin("search", keep=["checkpoint"], inputs={"seed": 1})
    folder.write_text("search/checkpoint", "step 7")
    killed = RunFolder(folder.path)
    made = killed.begin("search", keep=["checkpoint"], inputs={"seed": 1})
    assert (made / "checkpoint").read_text() == "step 7"
    other = RunFolder(folder.path).begin("search", keep=["checkpoint"], inputs={"seed": 2})
    assert not (other / "checkpoint").exists()


def test_caches_go_over_to_the_new_folder_and_stay_in_the_old(folder: RunFolder) -> None:
    finish(folder, 0, "old")
    folder.write_text("search/scores/a.json", "{}")
    made = folder.begin("search", caches=["scores"], inputs={"seed": 1})
    for place in (made, folder.path / "search"):
        assert (place / "scores/a.json").read_text() == "{}"


def test_a_stage_that_is_made_anew_counts_no_seconds(folder: RunFolder) -> None:
    finish(folder, 0, "old")
    folder.begin("search", inputs={"seed": 1})
    assert folder.stage_seconds() == []


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_while_the_folders_are_swapped_leaves_the_stage_unfinished(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    finish(folder, 0, "old")
    folder.begin("search", inputs={"seed": 1})
    folder.write_text("search/result", "new")
    real, done = os.replace, []

    def killed(source: Path, target: Path) -> None:
        if Path(source).is_dir() and len(done) == renames:
            raise KeyboardInterrupt
        real(source, target)
        done.extend([target] if Path(target).is_dir() else [])

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.mark_finished("search", {"seed": 1}, 1.0)
    monkeypatch.undo()
    again = RunFolder(folder.path)
    assert not any(again.is_finished("search", {"seed": seed}) for seed in (0, 1))
    finish(again, 1, "new again")
    assert (folder.path / "search/result").read_text() == "new again"
    assert sorted(path.name for path in folder.path.iterdir()) == ["manifest.json", "search"]


def test_a_stage_whose_folder_was_deleted_is_not_finished(folder: RunFolder) -> None:
    folder.begin("search").rmdir()
    folder.mark_finished("search", {}, 1.0)
    assert not folder.is_finished("search", {})


def test_begin_empties_the_stage_but_for_what_is_kept(folder: RunFolder) -> None:
    folder.write_text("search/scores.json", "{}")
    folder.write_text("search/model/weights", "w")
    folder.write_text("teacher/weights", "w")
    assert sorted(path.name for path in folder.begin("search", keep=["scores.json"]).iterdir()) == [
        "scores.json"
    ]
    assert (folder.path / "teacher/weights").is_file()


def test_what_is_kept_is_of_the_same_inputs(folder: RunFolder) -> None:
    def begin_again(seed: int) -> list[str]:
        kept = folder.begin("search", keep=["scores.json"], inputs={"seed": seed})
        return [path.name for path in kept.iterdir() if not path.name.startswith(".")]

    folder.write_text("search/scores.json", "of nobody knows what")
    assert begin_again(0) == []
    folder.write_text("search/scores.json", "{}")
    folder.write_text("search/other", "")
    assert begin_again(0) == ["scores.json"]
    assert begin_again(1) == []


def test_what_is_written_is_read_back(folder: RunFolder) -> None:
    content = {"name": "Größe", "values": [1, 2.5, None]}
    path = folder.write_json("search/result.json", content)
    assert read_json(path) == content
    assert folder.write_bytes("b", b"\x00").read_bytes() == b"\x00"
    assert hash_file(path) == hash_file(folder.write_json("copy.json", content))


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "{half", "[]"])
def test_unreadable_json_says_what_to_do(folder: RunFolder, content: str | None) -> None:
    if content is None:
        with pytest.raises(RunFolderError, match="has not run"):
            read_json(folder.path / "missing.json")
        return
    folder.write_text("manifest.json", content)
    with pytest.raises(RunFolderError, match=r"manifest\.json"):
        folder.is_finished("search", {})


def test_a_second_run_is_refused_until_the_first_ends(folder: RunFolder) -> None:
    with folder.lock(), pytest.raises(RunFolderError, match="another run"), RunFolder(folder.path).lock():
        pass
    with RunFolder(folder.path).lock():
        assert folder.path.is_dir()


def test_the_lock_ends_with_a_killed_process(folder: RunFolder) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom bertcompress.pipeline.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock():\n    os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder.path)], check=False)
    assert done.returncode == 9
    with folder.lock():
        pass


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk"), (errno.EROFS, "read-only")])
def test_a_disk_that_takes_no_more_is_one_message(folder: RunFolder, number: int, words: str) -> None:
    with pytest.raises(OutputError, match=words), folder.lock():
        raise OSError(number, os.strerror(number), "student/model.safetensors")
    with folder.lock():
        pass


def test_a_folder_of_other_files_is_left_alone(folder: RunFolder) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("precious", encoding="utf-8")
    with pytest.raises(RunFolderError, match="holds files"), folder.lock():
        pass
    assert [path.name for path in folder.path.iterdir()] == ["thesis.tex"]


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path, words in [(tmp_path / "file", "is a file"), (tmp_path / "file" / "run", "cannot be written")]:
        with pytest.raises(RunFolderError, match=words), RunFolder(path).lock():
            pass
