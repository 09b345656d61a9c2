"""The models drawn as chains of operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.section import Block, Box, Chain, Heading, Section
from bertcompress.space import KINDS, Operator


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Architectures"."""
    blocks: list[Block] = []
    for model in data.get("models") or []:
        blocks.append(Heading(str(model.get("role", "")), str(model.get("architecture", ""))))
        boxes = (_box(Operator.parse(name)) for name in model.get("operators") or [])
        blocks.append(Chain(tuple(boxes)))
    return Section("Architectures", tuple(blocks)) if blocks else None


def _box(operator: Operator) -> Box:
    kind = KINDS[operator.kind]
    return Box(kind.title, kind.describe_size(operator.size) or "nothing", operator.name, kind.colour)
