"""What a user should know of data that was read, in sentences: for `init`, and for a run's first lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertcompress.data.prepare import prepare
from bertcompress.errors import DataError
from bertcompress.sources.data import LoadedSource

LEAK_SHARE = 0.01  # of a split's rows: fewer are counted in the report alone
LEAKS = {
    "same": "the same but for case and punctuation",
    "contained": "inside a longer text",
    "near": "nearly alike",
}
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
        names = " and ".join(map(repr, group))
        found.append(f"the classes {names} look alike; write them alike if they are one")
    found += [_carving_notice(report), *_leak_notices(report)]
    return [notice for notice in found if notice]


def _file_notice(counts: Mapping[str, Any]) -> str:
    words = [f"{counts[key]} {word}" for key, word in READ_OTHERWISE.items() if counts.get(key)]
    if counts.get("quotes") == "none":
        words.append("quotation marks read as text")
    return f"{counts['path']}: {counts['records']} records, {', '.join(words)}" if words else ""


def _carving_notice(report: Mapping[str, Any]) -> str:
    """What kept rows of carved splits from being drawn one by one; nothing where nothing did."""
    carving, carved = report["carving"], " and ".join(report["carved"])
    if not carving or not carving["contained"]:
        return ""
    dropped = f", {carving['dropped']} dropped" if carving["dropped"] else ""
    return (
        f"{carved}: taken from train with the rows that stand inside them; {carving['contained']} rows stand "
        f"inside others, {carving['kept_in_train']} of them inside several, which stay in train{dropped}"
    )


def _leak_notices(report: Mapping[str, Any]) -> list[str]:
    """Which share of a held-out split another split gives away, where it is more than a little."""
    found = []
    for name, counts in report["leaks"].items():
        held, other = name.split("_in_")
        rows = report["rows"][held]
        given = {kind: count for kind, count in counts.items() if count and kind != "shared_text"}
        if sum(given.values()) > LEAK_SHARE * rows:
            words = ", ".join(f"{count} {LEAKS[kind]}" for kind, count in given.items())
            found.append(f"{other} gives away {sum(given.values())} of {rows} rows of {held}: {words}")
        if counts.get("shared_text", 0) > rows / 2:
            found.append(
                f"{counts['shared_text']} of {rows} pairs of {held} share one text with {other}; if that "
                "tells the answer, keep them together by data.group_column"
            )
    return found
