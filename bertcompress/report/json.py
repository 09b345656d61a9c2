"""report.json: the data dict as it came, in strict JSON (no NaN, which browsers and jq refuse)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def strict_json(value: Any) -> Any:
    """Return the value with tuples as lists, paths as strings, and numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(data: Mapping[str, Any], path: Path) -> Path:
    """Write the report's data, indented and in the order it was built."""
    text = json.dumps(strict_json(data), indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path
