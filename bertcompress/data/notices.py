"""What a user should know of data that was read, in sentences: for `init`, and for a run's first lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertcompress.data.prepare import prepare
from bertcompress.errors import DataError
from bertcompress.sources.data import LoadedSource

READ_OTHERWISE = {
    "blank_lines": "blank lines skipped",
    "rows_with_line_breaks": "rows that span several lines",
    "unnamed_columns": "columns without a name left out",
}


def suitability(source: LoadedSource, text_columns: Sequence[str], label_column: str) -> list[str]:
    """Prepare the rows as a run would, and say what was noticed, or why the run will refuse them."""
    try:
        prepared = prepare(source, text_columns=text_columns, label_column=label_column)
    except DataError as error:
        return [f"a run will refuse this as it stands: {error}"]
    return notices(prepared.report)


def notices(report: Mapping[str, Any]) -> list[str]:
    """Say what a data report holds beyond plain rows; nothing where there is nothing to say."""
    found = [_file_notice(counts) for counts in report["files"]]
    dropped = sum(report["duplicates_dropped"].values())
    if dropped:
        conflicting = report["conflicting_duplicates"]
        found.append(f"{dropped} duplicate rows dropped, {conflicting} of them with another label")
    for group in report["look_alike_labels"]:
        found.append(
            f"the classes {' and '.join(map(repr, group))} look alike; write them alike if they are one"
        )
    return [notice for notice in found if notice]


def _file_notice(counts: Mapping[str, Any]) -> str:
    words = [f"{counts[key]} {word}" for key, word in READ_OTHERWISE.items() if counts.get(key)]
    if counts.get("quotes") == "none":
        words.append("quotation marks read as text")
    return f"{counts['path']}: {counts['records']} records, {', '.join(words)}" if words else ""
