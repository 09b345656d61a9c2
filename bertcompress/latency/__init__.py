"""Latency as the search sees it: a table of operator costs, fitted and checked on whole exported networks."""

from __future__ import annotations

from bertcompress.latency.store import LatencyStore, default_cache_dir
from bertcompress.latency.table import (
    ExportArchitecture,
    LatencyTable,
    TableSettings,
    build_latency_table,
    measure_architectures_ms,
)

__all__ = [
    "ExportArchitecture",
    "LatencyStore",
    "LatencyTable",
    "TableSettings",
    "build_latency_table",
    "default_cache_dir",
    "measure_architectures_ms",
]
