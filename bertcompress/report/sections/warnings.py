"""What a reader has to be warned of before the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.section import Items, Section, Words
from bertcompress.report.warnings import warnings


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Warnings"."""
    found = tuple(Words(warning, "bad") for warning in warnings(data))
    return Section("Warnings", (Items(found),), in_summary=True) if found else None
