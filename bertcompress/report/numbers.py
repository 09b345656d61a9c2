"""How the report writes numbers, the same in every form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "-"


def finite(value: Any) -> float | None:
    """Return the number, or None where there is none to print."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def quantity(name: str, value: Any) -> str:
    """Write a budgeted number: counts with separators, the rest with three digits or so."""
    return count(value) if name.startswith("num_") or name == "macs" else number(value)


def number(value: Any, digits: int | None = None) -> str:
    """Write a decimal number; without `digits`, with as many as keep three significant ones."""
    known = finite(value)
    if known is None:
        return MISSING
    if digits is None:
        size = abs(known)
        digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{known:,.{digits}f}"


def count(value: Any) -> str:
    """Write a whole number with separators."""
    known = finite(value)
    return MISSING if known is None else f"{known:,.0f}"


def short_count(value: Any) -> str:
    """Write a large count with three digits: 22.7M, 1.21G."""
    known = finite(value)
    if known is None:
        return MISSING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(known) >= size:
            return f"{known / size:.3g}{letter}"
    return f"{known:.0f}"


def percent(value: Any) -> str:
    """Write a share as a percentage with one decimal."""
    known = finite(value)
    return MISSING if known is None else f"{100 * known:.1f}%"


def times(value: Any) -> str:
    """Write a ratio as a multiple."""
    known = finite(value)
    return MISSING if known is None else f"{known:.1f}×"


def duration(value: Any) -> str:
    """Write seconds as minutes and seconds."""
    known = finite(value)
    if known is None:
        return MISSING
    minutes, seconds = divmod(round(known), 60)
    return f"{known:.1f} s" if known < 60 else f"{minutes} min {seconds:02d} s"


def points(difference: Any) -> str:
    """Write a difference of two shares in percentage points, with its sign."""
    known = finite(difference)
    return MISSING if known is None else f"{100 * known:+.1f}"


def estimate(found: Mapping[str, Any] | None) -> str:
    """Write an estimate with its interval: "0.45 [0.30, 0.58]"."""
    if not found:
        return MISSING
    value, low, high = (number(found.get(key), 2) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
