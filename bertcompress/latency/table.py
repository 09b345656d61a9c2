"""The latency table: one cost per operator, fitted on whole exported chains, checked on chains held out.

Operators timed alone mislead at short sequences; a non-negative regression on whole networks does not. The
table holds for one machine and one set of conditions.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import kendalltau

from bertcompress.latency.chains import (
    chain_architecture,
    fitting_chains,
    heldout_chains,
    space_operators,
    space_terms,
)
from bertcompress.latency.coefficients import Coefficients, Streaming, fit_coefficients
from bertcompress.latency.drift import steady_medians_ms
from bertcompress.latency.store import LatencyStore
from bertcompress.measure import CLOCKS, Conditions, machine_key, measure_files, time_files
from bertcompress.space import (
    Architecture,
    Operator,
    Pooling,
    SearchSpace,
    canonical,
    operator_parameters,
)

# Writes the network, with any weights, as the ONNX file that would be served at the conditions' precision.
ExportArchitecture: TypeAlias = Callable[[Architecture, Path, Conditions], None]
OnProgress: TypeAlias = Callable[[int, int], None]
MOST_WORDS = 1000
# Tables stored before chains, clock or fit changed are not those of today: count up with every such change.
METHOD = 6


@dataclass(frozen=True)
class TableSettings:
    """How a table is measured and fitted; `seconds_each` is spent on a chain, its two measurements together.

    More than `num_chains` are exported where the space has more operators than those can tell apart well.
    `monotonic` is that of `fit_coefficients`.
    """

    num_chains: int = 16
    num_heldout: int = 4
    clock: str = "wall"
    seconds_each: float = 1.0
    monotonic: bool = False


@dataclass(frozen=True)
class LatencyTable:
    """Predicted latency as a sum: an intercept (embeddings, pooling, head) and a cost per operator.

    Under `pooling` "cls" operators have a second cost, of the first token only (`space.first_token_from`).
    `streaming` is there where networks of the space outgrow a cache: see `Coefficients`.
    `mape_percent` (mean absolute error) and `kendall` are of held-out chains; None where there were too few.
    `noise_percent` is the error that a perfect table would show on them: all were measured twice, and that is
    how far either measurement lies from the mean of the two.
    """

    conditions: Conditions
    machine: str
    clock: str
    intercept_ms: float
    coefficients_ms: Mapping[str, float]
    num_chains: int
    num_heldout: int
    mape_percent: float | None
    kendall: float | None
    noise_percent: float | None = None
    pooling: Pooling = "mean"
    streaming: Streaming | None = None

    def predict_ms(self, network: Architecture | Sequence[Operator]) -> float:
        """Latency of an architecture or child, placed or canonical.

        Raises:
            BudgetError: an operator is not in the table.
        """
        return max(self.sums_ms(network))

    def sums_ms(self, network: Architecture | Sequence[Operator]) -> tuple[float, ...]:
        """The sums over the operators of which the latency is the largest (`Coefficients.sums_ms`).

        Raises:
            BudgetError: an operator is not in the table.
        """
        operators = network.operators if isinstance(network, Architecture) else canonical(network)
        found = Coefficients(self.intercept_ms, self.coefficients_ms, self.streaming)
        return found.sums_ms(operators, self.pooling)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; from_dict reads them back."""
        return {**asdict(self), "coefficients_ms": dict(self.coefficients_ms)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LatencyTable:
        """The table that to_dict wrote."""
        given = values.get("streaming")  # none in a table of before
        streaming = None if given is None else Streaming(**given)
        return cls(**{**values, "conditions": Conditions(**values["conditions"]), "streaming": streaming})


def prediction_error(
    predicted_ms: Sequence[float], measured_ms: Sequence[float]
) -> tuple[float | None, float | None]:
    """Mean absolute percentage error, and Kendall's rank correlation where ranks exist."""
    if not measured_ms:
        return None, None
    predicted, measured = np.asarray(predicted_ms), np.asarray(measured_ms)
    mape_percent = float(np.mean(np.abs(predicted - measured) / measured) * 100)
    if len(measured) < 2:
        return mape_percent, None
    kendall = float(kendalltau(predicted, measured).statistic)
    return mape_percent, None if np.isnan(kendall) else kendall


def repeat_noise_percent(first_ms: Sequence[float], second_ms: Sequence[float]) -> float | None:
    """Mean distance of two measurements of the same networks from the mean of both, in percent of it.

    What all second measurements have in common, as from a slower minute, is taken off before.
    """
    if not first_ms:
        return None
    first, second = np.asarray(first_ms), np.asarray(second_ms)
    second = second / np.median(second / first)
    return float(np.mean(np.abs(first - second) / (first + second)) * 100)


def measure_twice_ms(
    paths: Mapping[str, Path], conditions: Conditions, *, vocab_size: int, seconds_each: float, clock: str
) -> tuple[list[float], list[float]]:
    """Two medians of each file, in sessions of their own; `seconds_each` is for both together.

    Where a session's memory lies changes a small network's time by a percent for as long as it lives, which
    no number of repeats in one session averages out or shows.
    """
    measured = []
    for _ in range(2):
        timings = time_files(
            paths,
            conditions,
            vocab_size=vocab_size,
            min_seconds=seconds_each / 2,
            max_seconds=seconds_each,
            percentiles=(50,),
            clock=CLOCKS[clock],
        )
        medians = steady_medians_ms(timings.seconds)
        measured.append([medians[name] for name in paths])
    return measured[0], measured[1]


@contextmanager
def exported_files(
    architectures: Sequence[Architecture],
    conditions: Conditions,
    export: ExportArchitecture,
    on_progress: OnProgress | None = None,
) -> Iterator[dict[str, Path]]:
    """The networks as files in a temporary folder, by their place in the sequence.

    `on_progress` is called with (exported so far, all) after each export, which takes seconds.
    """
    with tempfile.TemporaryDirectory(prefix="bertcompress-latency-") as folder:
        paths: dict[str, Path] = {}
        for index, architecture in enumerate(architectures):
            # A folder each, since an exporter may write weights beside its file.
            path = Path(folder) / str(index) / "model.onnx"
            path.parent.mkdir()
            export(architecture, path, conditions)
            paths[str(index)] = path
            if on_progress is not None:
                on_progress(index + 1, len(architectures))
        yield paths


def measure_architectures_ms(
    architectures: Sequence[Architecture],
    conditions: Conditions,
    export: ExportArchitecture,
    *,
    clock: str = "wall",
    seconds_each: float = 0.5,
) -> list[float]:
    """Median latency of each network, exported to a temporary folder and timed in turns with the others."""
    with exported_files(architectures, conditions, export) as paths:
        summaries = measure_files(
            paths,
            conditions,
            vocab_size=_smallest_vocabulary(architectures),
            min_seconds=seconds_each,
            max_seconds=2 * seconds_each,
            percentiles=(50,),
            clock=CLOCKS[clock],
        )
    return [summaries[name].p50_ms for name in paths]


def measure_architectures_twice_ms(
    architectures: Sequence[Architecture],
    conditions: Conditions,
    export: ExportArchitecture,
    *,
    clock: str,
    seconds_each: float,
    on_progress: OnProgress | None = None,
) -> tuple[list[float], list[float]]:
    """`measure_twice_ms` of networks that are exported to a temporary folder."""
    with exported_files(architectures, conditions, export, on_progress) as paths:
        return measure_twice_ms(
            paths,
            conditions,
            vocab_size=_smallest_vocabulary(architectures),
            seconds_each=seconds_each,
            clock=clock,
        )


def build_latency_table(
    space: SearchSpace,
    conditions: Conditions,
    export: ExportArchitecture,
    *,
    settings: TableSettings,
    rng: random.Random,
    store: LatencyStore | None = None,
    on_progress: OnProgress | None = None,
) -> LatencyTable:
    """The table for a space, from `store` where it was measured before in the same way on this machine."""
    operators, terms, pooling = space_operators(space), space_terms(space), space.dimensions.pooling
    chosen = (settings.num_chains, settings.num_heldout, settings.clock, settings.monotonic)
    key: dict[str, Any] = {
        "table": {**vars(space.dimensions), "operators": [operator.name for operator in operators]},
        "settings": [METHOD, space.num_positions, *chosen],
        "conditions": conditions.to_dict(),
        "machine": machine_key(conditions.provider),
    }
    if store is not None and (stored := store.get(key)) is not None:
        return LatencyTable.from_dict(stored)
    fitted = fitting_chains(space, settings.num_chains, rng)
    heldout = heldout_chains(space, settings.num_heldout, rng, known=fitted)
    architectures = [chain_architecture(space, chain, MOST_WORDS) for chain in (*fitted, *heldout)]
    first, second = measure_architectures_twice_ms(
        architectures,
        conditions,
        export,
        clock=settings.clock,
        seconds_each=settings.seconds_each,
        on_progress=on_progress,
    )
    measured = [(one + other) / 2 for one, other in zip(first, second, strict=True)]
    start = len(fitted)
    found = fit_coefficients(
        fitted,
        measured[:start],
        terms,
        pooling,
        weights=operator_weights(space),
        monotonic=settings.monotonic,
    )
    predicted = [found.predict_ms(chain, pooling) for chain in heldout]
    mape_percent, kendall = prediction_error(predicted, measured[start:])
    table = LatencyTable(
        conditions=conditions,
        machine=key["machine"],
        clock=settings.clock,
        intercept_ms=found.intercept_ms,
        coefficients_ms=found.costs_ms,
        num_chains=len(fitted),
        num_heldout=len(heldout),
        mape_percent=mape_percent,
        kendall=kendall,
        noise_percent=repeat_noise_percent(first[start:], second[start:]),
        pooling=pooling,
        streaming=found.streaming,
    )
    return table if store is None else LatencyTable.from_dict(store.put(key, table.to_dict()))


def operator_weights(space: SearchSpace) -> dict[str, int]:
    """The number of weights of each of the space's operators by name."""
    return {
        operator.name: operator_parameters(operator, space.dimensions) for operator in space_operators(space)
    }


def _smallest_vocabulary(architectures: Sequence[Architecture]) -> int:
    return min((architecture.dimensions.vocab_size for architecture in architectures), default=1)
