"""Sources `package:NAME` find their files whatever the package looks like, and import nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bertcompress.errors import DataError
from bertcompress.sources.data import load_source
from bertcompress.sources.installed_package import package_folders


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of packages that Python looks into first."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_is_found_without_being_imported(site: Path) -> None:
    folder = site / "made_up_rows"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    assert package_folders("made-up-rows") == package_folders("made_up_rows") == [folder]
    assert "made_up_rows" not in sys.modules


def test_a_distribution_is_found_by_the_name_that_pip_knows(site: Path) -> None:
    (site / "rows_of_mine").mkdir()
    information = site / "Made.Up_Distribution-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: Made.Up_Distribution\nVersion: 1.0\n", encoding="utf-8")
    (information / "top_level.txt").write_text("rows_of_mine\n", encoding="utf-8")
    for name in ("made-up-distribution", "Made.Up_Distribution", "rows_of_mine"):
        assert package_folders(name) == [site / "rows_of_mine"]


@pytest.mark.parametrize("name", ["no-such-package", "", ".", "../..", "a b"])
def test_what_is_not_installed_is_not_found(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        package_folders(name)


def test_a_single_module_has_no_folder(site: Path) -> None:
    assert package_folders("colorsys") == []
    with pytest.raises(DataError, match="colorsys is a single module and has no files"):
        load_source("package:colorsys")


def test_data_is_found_in_any_part_of_a_namespace_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("first", "second"):
        (tmp_path / part / "made_up_space" / part).mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / part))
    rows = tmp_path / "first" / "made_up_space" / "first" / "rows.csv"
    rows.write_text("text,label\na film,0\na play,1\n", encoding="utf-8")
    assert load_source("package:made-up-space/first/rows.csv").splits["train"]["text"][:] == [
        "a film",
        "a play",
    ]
