"""The words by which a recipe names a file's precision; `export/precisions` says what each of them is."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

PrecisionWord: TypeAlias = Literal["fp32", "int8", "int8_static", "fp16", "int8_weights", "int4_weights"]
PRECISION_WORDS: tuple[PrecisionWord, ...] = get_args(PrecisionWord)
# Their files are scaled by rows of the user's data, which a recipe has to grant.
NEED_ROWS: tuple[PrecisionWord, ...] = ("int8_static",)
