"""The estimated size of a file is that of the file, for every kind of operator and precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bertcompress.errors import ExportError
from bertcompress.export.calibration import random_calibration
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import FusionChoice
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.size import MIB, estimate_size_mib
from bertcompress.export.write import write_precisions
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import Architecture, Dimensions, Operator


def trained_like(architecture: Architecture) -> CompactBertForSequenceClassification:
    """A model without equal weights, of which a file would hold only one."""
    model = CompactBertForSequenceClassification(CompactBertConfig.from_architecture(architecture)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.mark.parametrize(
    ("dimensions", "names"),
    [
        (Dimensions(1000, 96, 32, 32, 2, "mean_max"), ["mha2", "ffn64", "conv3", "conv7"]),
        (Dimensions(400, 96, 96, 32, 3, "cls"), ["mha1", "mha3", "ffn384"]),
    ],
)
def test_the_estimate_is_next_to_the_file(tmp_path: Path, dimensions: Dimensions, names: list[str]) -> None:
    architecture = Architecture(dimensions, tuple(map(Operator.parse, names)))
    converted = export_onnx(trained_like(architecture), tmp_path / "converted.onnx")
    paths = {precision: tmp_path / f"{precision}.onnx" for precision in PRECISIONS}
    calibration = random_calibration(dimensions.vocab_size, dimensions.max_position_embeddings)
    write_precisions(converted, paths, FusionChoice(branch_attention=True), calibration)
    for precision, path in paths.items():
        size_mib = path.stat().st_size / MIB
        assert estimate_size_mib(architecture, precision) == pytest.approx(size_mib, rel=0.005), precision


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_the_estimate_is_a_sum_over_operators(precision: str) -> None:
    dimensions = Dimensions(1000, 96, 32, 32, 2, "mean")

    def size(*names: str) -> float:
        return estimate_size_mib(Architecture(dimensions, tuple(map(Operator.parse, names))), precision)

    assert size("mha3", "identity", "conv5") - size("conv5") == pytest.approx(size("mha3") - size())
    assert size("ffn64", "ffn64") - size("ffn64") == pytest.approx(size("ffn64") - size("identity"))


def test_an_unknown_precision_has_no_estimate() -> None:
    with pytest.raises(ExportError, match="fp4"):
        estimate_size_mib(Architecture(Dimensions(10, 8, 8, 8, 2, "cls"), ()), "fp4")
