"""Budgets in words: what was limited, what the exported file reached, and whether it is within the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.numbers import finite, quantity

UNITS = {"latency_ms": "ms", "num_parameters": "parameters", "size_mib": "MiB", "macs": "MACs"}
LABELS = {"latency_ms": "latency", "num_parameters": "parameters", "size_mib": "file size", "macs": "MACs"}


def budget_limit(data: Mapping[str, Any], name: str) -> float | None:
    """Return the most that the budget `name` allows, or None where the run had no such limit."""
    return finite(_budget(data, name).get("limit"))


def budget_ends(data: Mapping[str, Any], name: str) -> list[float]:
    """Return the least and the most that the budget `name` allows, as far as there are such limits."""
    found = (finite(_budget(data, name).get(end)) for end in ("least", "limit"))
    return [end for end in found if end is not None]


def _budget(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    named = (budget for budget in data.get("budgets") or [] if budget.get("name") == name)
    return next(named, {})


def budget_name(budget: Mapping[str, Any]) -> str:
    """Return the cost that is limited: latency_ms for latency_ms@CONDITIONS as well."""
    return str(budget.get("name", "")).partition("@")[0]


def budget_label(budget: Mapping[str, Any]) -> str:
    """Return the limited cost as a heading."""
    return LABELS.get(budget_name(budget), budget_name(budget))


def budget_value(budget: Mapping[str, Any]) -> str:
    """Return what the exported file reached, without its unit."""
    return quantity(budget_name(budget), budget.get("value"))


def budget_limits(budget: Mapping[str, Any], *, with_unit: bool = True) -> str:
    """Return the limits in words with their unit: "at most 1.5 ms", "2 to 4 MiB"."""
    name = budget_name(budget)
    most, least = quantity(name, budget.get("limit")), quantity(name, budget.get("least"))
    if budget.get("least") is None:
        words = f"at most {most}"
    else:
        words = f"at least {least}" if budget.get("limit") is None else f"{least} to {most}"
    return f"{words} {UNITS.get(name, '') if with_unit else ''}".rstrip()
