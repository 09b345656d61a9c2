"""The sections of the report, one file each, built from the report's data.

Each file has a function `section(data)`, which returns its section, or None where there is nothing to say.
A new section is a new file, and its name in SECTIONS at the place where it is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.section import Report, Section, Words
from bertcompress.report.sections import (
    alternatives,
    architectures,
    benchmark,
    budgets,
    data_rows,
    evolution,
    interference,
    latency,
    models,
    per_class,
    race,
    ranking,
    repeat,
    search,
    training,
    verdict,
    warnings,
)

SECTIONS = (
    warnings,
    verdict,
    budgets,
    models,
    alternatives,
    per_class,
    architectures,
    race,
    search,
    ranking,
    interference,
    evolution,
    latency,
    benchmark,
    training,
    data_rows,
    repeat,
)


def build_sections(data: Mapping[str, Any]) -> tuple[Section, ...]:
    """Return the sections that the data has something for, in reading order."""
    built = (module.section(data) for module in SECTIONS)
    return tuple(section for section in built if section is not None)


def describe(data: Mapping[str, Any]) -> Report:
    """Return the whole report of a run; only "name" must be in `data`."""
    introduction = [Words(str(data["description"]), "quiet")] if data.get("description") else []
    if data.get("vocabulary"):
        introduction.append(Words(f"Vocabulary: {data['vocabulary']}", "quiet"))
    return Report(str(data["name"]), tuple(introduction), build_sections(data))
