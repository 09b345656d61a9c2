"""The versions of what numbers were made with: the same list in every record, report and export."""

from __future__ import annotations

import platform
from importlib import metadata

import onnxruntime

from bertcompress import __version__

PACKAGES = (
    "torch",
    "transformers",
    "onnx",
    "onnxscript",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
    "scikit-learn",
)


def versions() -> dict[str, str]:
    """Python, this package, ONNX Runtime by whichever of its distributions, and what numbers depend on."""
    ours = {
        "python": platform.python_version(),
        "bertcompress": __version__,
        "onnxruntime": onnxruntime.__version__,
    }
    return {**ours, **{package: _installed(package) for package in PACKAGES}}


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
