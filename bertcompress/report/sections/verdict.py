"""The verdict, as it stands in the data: its first sentence says what matters most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.section import Section, Words


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Verdict"."""
    if not data.get("verdict"):
        return None
    first, end, others = str(data["verdict"]).partition(". ")
    blocks = [Words(first + end.rstrip(), "strong"), *([Words(others)] if others else [])]
    return Section("Verdict", tuple(blocks), in_summary=True)
