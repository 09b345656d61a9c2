"""Latency of architectures: exported with random weights, timed, and remembered on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bertcompress.export.calibration import random_calibration
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import FusionChoice
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.write import write_precisions
from bertcompress.latency.store import LatencyStore
from bertcompress.latency.table import measure_architectures_ms
from bertcompress.measure import Conditions, best_clock, machine_key
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import Architecture


def export_precisions(
    architecture: Architecture, paths: Mapping[str, Path], *, provider: str = "cpu"
) -> None:
    """Write an architecture, its weights random, as the files that would be served, by precision."""
    model = CompactBertForSequenceClassification(CompactBertConfig.from_architecture(architecture))
    export_model(model, paths, provider=provider)


def export_model(
    model: CompactBertForSequenceClassification, paths: Mapping[str, Path], *, provider: str = "cpu"
) -> None:
    """Write a model as the files that would be served, by precision."""
    with tempfile.TemporaryDirectory(prefix="bertcompress-export-") as folder:
        converted = export_onnx(model, Path(folder) / "converted.onnx")
        dimensions = model.architecture.dimensions
        calibration = None
        if any(PRECISIONS[word].needs_rows for word in paths):
            calibration = random_calibration(dimensions.vocab_size, dimensions.max_position_embeddings)
        fusion = FusionChoice(branch_attention=provider == "cpu")
        write_precisions(converted, paths, fusion, calibration)


def export_architecture(architecture: Architecture, path: Path, conditions: Conditions) -> None:
    """Write an architecture, its weights random, as the file that would be served under the conditions."""
    export_precisions(architecture, {conditions.precision: path}, provider=conditions.provider)


def measure_whole(architectures: Sequence[Architecture], conditions: Conditions) -> dict[str, float]:
    """Median milliseconds of whole networks by name; read where this machine measured them before."""
    store, machine = LatencyStore(), machine_key(conditions.provider)

    def measure(architecture: Architecture) -> Callable[[], float]:
        return lambda: measure_architectures_ms(
            [architecture],
            conditions,
            export_architecture,
            clock=best_clock(conditions),
            seconds_each=1.0,
        )[0]

    return {
        architecture.name: store.latency_ms(architecture, conditions, machine, measure(architecture))
        for architecture in architectures
    }
