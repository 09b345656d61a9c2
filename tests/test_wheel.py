"""The wheel is the product: one import name, everything inside, and it works far from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Each import folder and the name that its files have in the wheel.
MAPPED = {"bertcompress": "bertcompress", "export": "bertcompress/export", "recipes": "bertcompress/recipes"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the network from a copy, so that no build folder of the checkout leaks in."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in MAPPED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--wheel-dir", str(out), str(copy)], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
    ]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return target


def run_far_away(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder` with the installed wheel first on the path.

    -S leaves .pth files unread, so an editable install of the checkout cannot answer in the wheel's place.
    Packages may lie in several environments that are stacked by .pth files: all of them are named.
    """
    packages = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    path = os.pathsep.join([str(installed), *packages])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-S", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_squats_no_other_name(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bertcompress"}
    assert len(tops) == 2


def test_the_wheel_holds_every_source_file(names: set[str]) -> None:
    # A new subpackage that pyproject.toml does not list, or a new kind of data file, is caught here.
    expected = {
        f"{mapped}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, mapped in MAPPED.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_wheel_holds_recipes_types_and_licence(names: set[str]) -> None:
    assert {"bertcompress/py.typed", "bertcompress/recipes/reviews-mini.yaml"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_answers_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    program = "import bertcompress, bertcompress.export, bertcompress.recipes as r; print(r.__file__)"
    finished = run_far_away(installed, tmp_path, "-c", program)
    assert finished.returncode == 0, finished.stderr
    assert Path(finished.stdout.strip()).is_relative_to(installed)


def test_the_installed_command_lists_and_validates_recipes(installed: Path, tmp_path: Path) -> None:
    program = "from bertcompress.cli.app import app; app()"
    listed = run_far_away(installed, tmp_path, "-c", program, "recipes")
    assert listed.returncode == 0, listed.stderr
    assert "reviews-mini" in listed.stdout
    checked = run_far_away(installed, tmp_path, "-c", program, "validate", "reviews-mini")
    assert checked.returncode == 0, checked.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["export", "recipes"])
def test_the_mapped_folders_are_not_top_level_names(installed: Path, tmp_path: Path, name: str) -> None:
    finished = run_far_away(installed, tmp_path, "-c", f"import {name}")
    assert "ModuleNotFoundError" in finished.stderr
