"""A space whose every network has been scored: the ground truth that searchers are compared on.

A table lists all networks of a small space with score, cost, and the time that scoring took on one thread.
Searching it costs nothing but the searcher's own time, its optimum is known, and every searcher sees the same
scores. Time is the processor's, which neighbours on the machine do not change.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertcompress.search import Budgets, Cost
from bertcompress.search.placement import packed
from bertcompress.space import Architecture, Child, Dimensions, SearchSpace, canonical, child_name


@dataclass(frozen=True)
class Row:
    """One network: its validation loss (the score), its costs, and the processor time that scoring took."""

    architecture: str
    loss: float
    num_parameters: int
    latency_ms: float
    cpu_seconds: float


@dataclass(frozen=True)
class TabularSpace:
    """All networks of a space with the same operators at every position."""

    space: SearchSpace
    rows: dict[str, Row]

    @classmethod
    def read(cls, path: Path) -> TabularSpace:
        """The table that `to_dict` was written from.

        Raises:
            ValueError: the table lacks networks of its space.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        space = SearchSpace.uniform(
            Dimensions(**values["space"]["dimensions"]),
            values["space"]["num_positions"],
            values["space"]["operators"],
        )
        table = cls(space, {row["architecture"]: Row(**row) for row in values["rows"]})
        missing = [name for name, _ in networks(space) if name not in table.rows]
        if missing:
            raise ValueError(f"{path}: {len(missing)} networks are missing, the first is {missing[0]}")
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the best network first."""
        return {
            "space": {
                "dimensions": asdict(self.space.dimensions),
                "num_positions": self.space.num_positions,
                "operators": [operator.name for operator in self.space.choices[0]],
            },
            "rows": [asdict(row) for row in sorted(self.rows.values(), key=lambda row: row.loss)],
        }

    def row(self, child: Child) -> Row:
        """The row of a child, wherever its identities stand."""
        return self.rows[name_of(child)]

    def cost_of(self, child: Child) -> Cost:
        """The two costs that the table holds."""
        row = self.row(child)
        return Cost.of(num_parameters=row.num_parameters, latency_ms=row.latency_ms)

    def budgets(self, share: float) -> Budgets:
        """Budgets that each of the two costs' cheapest `share` of the networks meets."""
        rows = list(self.rows.values())
        return Budgets.of(
            num_parameters=float(
                np.quantile([row.num_parameters for row in rows], share, method="inverted_cdf")
            ),
            latency_ms=float(np.quantile([row.latency_ms for row in rows], share, method="inverted_cdf")),
        )

    def optimum(self, budgets: Budgets) -> Row:
        """The best network that fits."""
        fitting = [
            self.rows[name] for name, child in networks(self.space) if budgets.fits(self.cost_of(child))
        ]
        return min(fitting, key=lambda row: row.loss)


def name_of(child: Child) -> str:
    """The network in words; of all placements the same."""
    return child_name(canonical(child))


def networks(space: SearchSpace) -> Iterator[tuple[str, Child]]:
    """Every network of a uniform space, by name, placed with its identities at the end."""
    seen: set[Child] = set()
    for child in itertools.product(*space.choices):
        if canonical(child) not in seen:
            seen.add(canonical(child))
            yield name_of(child), packed(child)


def make_rows(
    space: SearchSpace,
    metrics: Mapping[str, Mapping[str, float]],
    latency_of: Callable[[Architecture], float],
) -> dict[str, Row]:
    """The table's rows from `loss` and `cpu_seconds` by name; parameters are counted, latencies predicted."""
    rows = {}
    for name, child in networks(space):
        architecture = Architecture(space.dimensions, child)
        rows[name] = Row(
            name,
            metrics[name]["loss"],
            architecture.num_parameters,
            latency_of(architecture),
            metrics[name]["cpu_seconds"],
        )
    return rows
