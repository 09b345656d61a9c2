"""An export owns its folder: it replaces an earlier export whole, and leaves anybody else's files alone."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from bertcompress.errors import ExportError, OutputError
from bertcompress.export.own_folder import check_output, own_folder
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.files import check_output_file, plain_write_errors


@pytest.fixture
def exported(exported_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_folder, tmp_path / "out"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_an_earlier_export_wrote_is_gone(exported: Path) -> None:
    with own_folder(exported) as made:
        assert (exported / "model_int8.onnx").exists()
        (made / "model.onnx").write_text("new", encoding="utf-8")
    assert names(exported) == ["model.onnx"]
    assert names(exported.parent) == ["out"]


def test_an_export_that_fails_leaves_the_earlier_one(exported: Path) -> None:
    before = names(exported)

    def fail() -> None:
        with own_folder(exported) as made:
            (made / "model.onnx").write_text("half", encoding="utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(exported) == before
    assert names(exported.parent) == ["out"]
    assert OnnxClassifier(exported, "int8").classify(["good film"])


def test_files_that_no_export_wrote_are_refused_and_kept(exported: Path) -> None:
    (exported / "notes.txt").write_text("mine", encoding="utf-8")
    (exported / "README.md").write_text("my own card", encoding="utf-8")
    with pytest.raises(ExportError, match="has 3 problems") as caught, own_folder(exported):
        pass
    assert "notes.txt: was not written by an export" in str(caught.value)
    assert "README.md: was changed since it was exported" in str(caught.value)
    assert (exported / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_files_that_come_during_the_export_are_kept(tmp_path: Path) -> None:
    def export() -> None:
        with own_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out/late.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(ExportError, match=r"late\.txt"):
        export()
    assert names(tmp_path / "out") == ["late.txt"]


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "model").mkdir()
    places = {
        "file": "is a file",
        "file/below": "which is a file",
        "model": "is the model's own folder",
        "model/out": "lies in the model's own folder",
        ".": "holds the model's own folder",
    }
    for place, words in places.items():
        with pytest.raises(ExportError, match=words):
            check_output(tmp_path / place, str(tmp_path / "model"))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with own_folder(tmp_path / "out") as made:
        (made / "a").write_text("", encoding="utf-8")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "real") == ["a"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model_int8.onnx", "changed since the export"),
        ("tokenizer.json", "changed since the export"),
        ("config.json", "changed since the export"),
    ],
)
def test_a_file_that_was_changed_is_not_served(exported: Path, name: str, words: str) -> None:
    with (exported / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ExportError, match=f"{name}: {words}"):
        OnnxClassifier(exported, "int8")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_message(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(OutputError, match=r"the disk is full; free now are .* MiB"),
        plain_write_errors(tmp_path),
    ):
        raise error


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bug"), plain_write_errors(tmp_path):
        raise ValueError("a bug")


def test_an_output_file_is_checked_before_the_work(tmp_path: Path) -> None:
    check_output_file(None)
    check_output_file(tmp_path / "out.json")
    with pytest.raises(OutputError, match="is a folder; name a file"):
        check_output_file(tmp_path)
    with pytest.raises(OutputError, match="there is no folder"):
        check_output_file(tmp_path / "missing/out.json")
