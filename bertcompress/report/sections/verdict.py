"""The verdict, as it stands in the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.section import Section, Words


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Verdict"."""
    if not data.get("verdict"):
        return None
    return Section("Verdict", (Words(str(data["verdict"]), "strong"),), in_summary=True)
