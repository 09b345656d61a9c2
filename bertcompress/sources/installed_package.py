"""Where the files of an installed package lie, for the sources `package:NAME` of teachers and data."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

PACKAGE_PREFIX = "package:"


def missing_package(source: str) -> str | None:
    """The package of a source `package:NAME` or `package:NAME/path` that is not installed; else None."""
    if not source.startswith(PACKAGE_PREFIX):
        return None
    name = source.removeprefix(PACKAGE_PREFIX).partition("/")[0]
    try:
        package_folders(name)
    except ModuleNotFoundError:
        return name
    return None


def package_folders(name: str) -> list[Path]:
    """The folders of an installed package, given as it is imported or as pip knows it; nothing is imported.

    A namespace package, one without __init__.py, may have several; a single module has none.

    Raises:
        ModuleNotFoundError: no such package is installed.
    """
    found = [spec for module in _module_names(name) if (spec := find_spec(module)) is not None]
    if not found:
        raise ModuleNotFoundError(f"no package {name}", name=name)
    places = [place for spec in found for place in spec.submodule_search_locations or ()]
    return [Path(place) for place in dict.fromkeys(places)]


def _module_names(name: str) -> list[str]:
    """What a package is imported as: by its own name, else as the distribution of that name says."""
    own = name.replace("-", "_")
    if own.isidentifier() and find_spec(own) is not None:
        return [own]
    return [
        module
        for module, owners in packages_distributions().items()
        if module.isidentifier() and _canonical(name) in map(_canonical, owners)
    ]


def _canonical(distribution: str) -> str:
    """As PyPA compares the names of distributions."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
