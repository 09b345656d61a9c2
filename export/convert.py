"""PyTorch to ONNX: one graph with dynamic batch and sequence, attention already ONNX Runtime's own operator.

The flow goes on in optimize (fusions), quantize (int8) and verify."""

from __future__ import annotations

import copy
import gc
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from bertcompress.errors import ExportError
from bertcompress.export.heads import SEQUENCE, Head
from bertcompress.export.optimize import MAX_SINGLE_FILE_BYTES

OPSET = 20
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")


class _Logits(nn.Module):
    """The model as the three arrays in, and the head's arrays out, that a served graph has."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, ...]:
        output = self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return tuple(output[name] for name in self.names)


def export_onnx(model: nn.Module, path: Path | str, *, head: Head = SEQUENCE, opset: int = OPSET) -> Path:
    """Write a model as ONNX: int64 input_ids, attention_mask, token_type_ids (B, T) to the head's logits.

    Works on a copy in eval mode on the CPU, so that the model stays as it is. One file, except above
    MAX_SINGLE_FILE_BYTES of weights, which then lie in a second file named PATH.data that has to move along.

    Raises:
        ExportError: torch cannot trace the model.
    """
    path = Path(path)
    wrapped = _Logits(copy.deepcopy(model).cpu().float().eval(), head.outputs)
    num_bytes = sum(parameter.numel() * 4 for parameter in wrapped.parameters())
    # Sizes above 1, which tracing would take for constants; three tensors, as it would merge one given twice.
    ids = torch.ones(2, 8, dtype=torch.long)  # (B, T)
    axes = {0: Dim("batch", min=1), 1: Dim("sequence", min=1)}  # min=1: one row is allowed too
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                wrapped,
                (ids, torch.ones_like(ids), torch.zeros_like(ids)),
                input_names=INPUT_NAMES,
                output_names=head.outputs,
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=(axes, axes, axes),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"{type(model).__name__}: torch cannot export it to ONNX: {error}") from error
        assert program is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        program.save(path, external_data=num_bytes > MAX_SINGLE_FILE_BYTES)
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on optional packages and axis names; uncollected, it also runs faster."""
    logger = logging.getLogger("torch.onnx")
    level, collecting = logger.level, gc.isenabled()
    logger.setLevel(logging.ERROR)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if collecting:
            gc.enable()
