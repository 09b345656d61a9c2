"""What was asked of the winner, and what its exported file reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.report.budgets import budget_label, budget_limits, budget_value
from bertcompress.report.section import Card, Cards, Section


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Budgets"."""
    cards = tuple(map(_card, data.get("budgets") or []))
    return Section("Budgets", (Cards(cards),), in_summary=True) if cards else None


def _card(budget: Mapping[str, Any]) -> Card:
    return Card(
        budget_label(budget),
        budget_value(budget),
        budget_limits(budget),
        bool(budget.get("met")),
        str(budget.get("conditions") or ""),
    )
