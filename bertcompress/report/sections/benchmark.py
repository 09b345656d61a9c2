"""The exported files timed over the recipe's grid of batch sizes, sequence lengths and threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bertcompress.report.numbers import MISSING, count, number
from bertcompress.report.section import Cell, Column, Section, Table, Words

FEW_REPEATS = f'"{MISSING}" under a percentile: too few repeats to support it.'
NOISY = "The spread is wide: another process ran on this machine."


def _text(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: str(row.get(key) or MISSING)


def _count(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: count(row.get(key))


def _number(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: number(row.get(key))


def _repeats(row: Mapping[str, Any]) -> Cell:
    repeats = count(row.get("repeats"))
    return Cell(f"{repeats} (noisy)", "bad", NOISY) if row.get("noisy") else Cell(repeats)


COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("model", _text("model"), is_text=True),
    Column("precision", _text("precision"), is_text=True),
    Column("provider", _text("provider"), is_text=True),
    Column("batch", _count("batch_size")),
    Column("sequence", _count("sequence_length")),
    Column("threads", _count("num_threads")),
    Column("p50, ms", _number("p50_ms")),
    Column("p95, ms", _number("p95_ms")),
    Column("p99, ms", _number("p99_ms")),
    Column("IQR, ms", _number("iqr_ms")),
    Column("per second", _number("throughput_per_s")),
    Column("repeats", _repeats),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Benchmark"."""
    benchmark = data.get("benchmark") or {}
    if not benchmark.get("rows"):
        return None
    table = Table.of(COLUMNS, benchmark["rows"], highlight=lambda row: row.get("model") == "winner")
    reasons = (benchmark.get("noise") or {}).get("reasons") or []
    notes = [FEW_REPEATS, *(f"The machine was not quiet: {reason}." for reason in reasons)]
    return Section("Benchmark", (table, *(Words(note, "quiet") for note in notes)))
