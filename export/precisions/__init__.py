"""The precisions of exported files: one file each, listed in `PRECISIONS`. Importing this loads no onnx."""

from __future__ import annotations

import difflib

from bertcompress.errors import ExportError
from bertcompress.export.precisions.fp16 import FP16
from bertcompress.export.precisions.fp32 import FP32
from bertcompress.export.precisions.int4_weights import INT4_WEIGHTS
from bertcompress.export.precisions.int8 import INT8
from bertcompress.export.precisions.int8_static import INT8_STATIC
from bertcompress.export.precisions.int8_weights import INT8_WEIGHTS
from bertcompress.export.precisions.precision import Made, Precision, Source

# By word, in the order in which files are written and listed.
PRECISIONS: dict[str, Precision] = {
    precision.word: precision for precision in (FP32, INT8, INT8_STATIC, FP16, INT8_WEIGHTS, INT4_WEIGHTS)
}
# Words that are precisions elsewhere, and why there is no such file.
REFUSED = {
    "bf16": "ONNX Runtime has no bf16 kernels on the CPU, so that the file could not be verified; use fp16",
    "int4": "activations have no kernels of 4 bits; use int4_weights",
}

__all__ = ["PRECISIONS", "REFUSED", "Made", "Precision", "Source", "find_precision", "unknown_precision"]


def find_precision(word: str) -> Precision:
    """Return the precision of a word.

    Raises:
        ExportError: there is no such precision.
    """
    if word not in PRECISIONS:
        raise ExportError(f"precision: {unknown_precision(word)}")
    return PRECISIONS[word]


def unknown_precision(word: str) -> str:
    """Say that a word is no precision, and which is nearest."""
    if word in REFUSED:
        return f"{word!r} is not written: {REFUSED[word]}"
    nearest = difflib.get_close_matches(word, PRECISIONS, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{word!r} is unknown; {hint}use {', '.join(PRECISIONS)}"
