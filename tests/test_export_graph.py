"""An exported graph computes what PyTorch computes, at every shape and padding; what does not is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_models import compact_model

from bertcompress.errors import ExportError, VerificationError
from bertcompress.export.audit import audit
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import optimize
from bertcompress.export.verify import graph_logits, shape_cases, verify
from bertcompress.space import Pooling


def test_ort_equals_pytorch_at_every_shape_and_padding(optimized_graph: Path) -> None:
    result = verify(optimized_graph, compact_model())
    assert result.max_logit_error < 1e-5
    assert result.agreement == 1.0


@pytest.mark.parametrize(
    ("names", "pooling", "embedding_size"), [((), "mean", 32), (("mha1", "ffn8", "conv7"), "cls", 32)]
)
def test_every_pooling_and_an_empty_chain_export(
    tmp_path: Path, names: tuple[str, ...], pooling: Pooling, embedding_size: int
) -> None:
    model = compact_model(names, pooling=pooling, embedding_size=embedding_size)
    path = optimize(export_onnx(model, tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert verify(path, model).max_logit_error < 1e-5
    audit(path, model.architecture)


def test_padding_never_changes_a_logit(optimized_graph: Path) -> None:
    ids = torch.randint(1, 97, (3, 9), generator=torch.Generator().manual_seed(0))
    short = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    longer = torch.randint(1, 97, (3, 20), generator=torch.Generator().manual_seed(1))
    longer[:, :9] = ids
    mask = torch.zeros_like(longer)
    mask[:, :9] = 1
    padded = graph_logits(optimized_graph, [{"input_ids": longer, "attention_mask": mask}])
    np.testing.assert_allclose(padded, graph_logits(optimized_graph, [short]), atol=1e-5)


def test_export_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = compact_model(("conv3",)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "model.onnx")
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_small_model_is_one_file(converted_graph: Path) -> None:
    assert not converted_graph.with_name(f"{converted_graph.name}.data").exists()
    assert all(not tensor.external_data for tensor in onnx.load(converted_graph).graph.initializer)


def test_a_model_that_cannot_be_traced_is_an_export_error(tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
            return input_ids if bool(input_ids.sum() > 3) else -input_ids

    with pytest.raises(ExportError, match="Branching"):
        export_onnx(Branching(), tmp_path / "model.onnx")


def test_optimize_names_a_file_that_is_no_graph(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a graph")
    with pytest.raises(ExportError, match=r"bad\.onnx"):
        optimize(bad, tmp_path / "out.onnx")


def test_verify_refuses_another_model(optimized_graph: Path) -> None:
    with pytest.raises(VerificationError, match="right padding: logits differ"):
        verify(optimized_graph, compact_model(seed=1))


def test_verify_counts_agreement_on_real_rows(
    optimized_graph: Path,
    padded_batch: Callable[..., dict[str, torch.Tensor]],
) -> None:
    batches = [padded_batch([5, 9]), padded_batch([3, 4, 7], seed=1)]
    assert verify(optimized_graph, compact_model(), batches=batches).num_rows == 5
    assert graph_logits(optimized_graph, batches).shape == (5, 2)


def test_shape_cases_reach_the_corners() -> None:
    cases = dict(shape_cases(vocab_size=97, max_length=40))
    shapes = {feed["input_ids"].shape for _, feed in cases.items()}
    assert {(1, 1), (1, 40), (2, 1)} <= shapes
    assert all(feed["attention_mask"].any(axis=1).all() for feed in cases.values())
    assert (cases["left padding"]["attention_mask"][:, -1] == 1).all()
    assert cases["two segments"]["token_type_ids"].max() == 1
