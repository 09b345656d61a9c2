"""What an operator adds to a child's latency at a position, by the latency tables of a run.

Latency is no plain sum over operators: weights beyond the cache cost extra, and under `cls` pooling the
operators after the last attention or convolution compute one token. So they are priced in whole children."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from bertcompress.latency.table import LatencyTable
from bertcompress.space import IDENTITY, Child, Operator


class OperatorPrices:
    """The mean, over `children`, of the latency that an operator adds at a position of them.

    `children` are placed on the space's positions; the tables cover their operators and those to be priced.
    """

    def __init__(self, tables: Mapping[str, LatencyTable], children: Sequence[Child]) -> None:
        self.tables = dict(tables)
        self._children = tuple(children)
        self._known: dict[tuple[str, int, Operator], float] = {}

    def ms(self, name: str, position: int, operator: Operator) -> float:
        """Return the price in milliseconds by the table `name`; the identity's is zero."""
        key = (name, position, operator)
        if key not in self._known:
            self._known[key] = self._mean_ms(*key) - self._mean_ms(name, position, IDENTITY)
        return self._known[key]

    def all_ms(self, position: int, operator: Operator) -> tuple[float, ...]:
        """Return the price by every table, in their order."""
        return tuple(self.ms(name, position, operator) for name in self.tables)

    def error_ms(self, name: str) -> float | None:
        """Return the table's mean error on the children, by its error on held-out chains; None if unknown."""
        table = self.tables[name]
        if table.mape_percent is None:
            return None
        return mean(table.predict_ms(child) for child in self._children) * table.mape_percent / 100

    def _mean_ms(self, name: str, position: int, operator: Operator) -> float:
        table = self.tables[name]
        return mean(
            table.predict_ms((*child[:position], operator, *child[position + 1 :]))
            for child in self._children
        )
