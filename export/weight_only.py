"""Weights alone in 4 or 8 bits, by blocks of a column: MatMulNBits multiplies them with fp32 activations.

Smaller files at fp32's activations and about its speed: dense layers are unpacked as they are used. The
embeddings go to int8, as in the other int8 files; convolutions, norms and the classifier stay."""

from __future__ import annotations

import inspect
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from bertcompress.errors import ExportError
from bertcompress.export.optimize import save_model
from bertcompress.export.precisions.int8_weights import BLOCK_SIZE
from bertcompress.export.quantize import head_nodes, quantize_embeddings

# Ends of the names that MatMulNBits gives to blocks of a column, with their bits, and to their scales.
BLOCKED = {"_Q4": 4, "_Q8": 8}
BLOCK_SCALES = "_scales"


@dataclass(frozen=True)
class WeightOnly:
    """How a file's dense layers were narrowed; `symmetric`: a block has a scale and no zero point."""

    bits: int
    block_size: int = BLOCK_SIZE
    symmetric: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def narrow_weights(path_in: Path | str, path_out: Path | str, *, bits: int) -> WeightOnly:
    """Write a graph that `optimize` wrote with its dense weights in 4 or 8 bits.

    Raises:
        ExportError: this ONNX Runtime is too old for it.
    """
    chosen = WeightOnly(bits)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        # Late, as the import sets up logging for the whole process, which `_quiet` takes back.
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        if "bits" not in inspect.signature(MatMulNBitsQuantizer.__init__).parameters:
            raise ExportError(
                f"int{bits}_weights: onnxruntime {onnxruntime.__version__} cannot narrow weights alone to "
                f"{bits} bits; upgrade onnxruntime, or use int8"
            )
        embedded = Path(folder) / "embedded.onnx"
        quantize_embeddings(path_in, embedded)
        quantizer = MatMulNBitsQuantizer(
            onnx.load(embedded),
            bits=bits,
            block_size=chosen.block_size,
            is_symmetric=chosen.symmetric,
            nodes_to_exclude=head_nodes(onnx.load(path_in, load_external_data=False).graph.node),
        )
        quantizer.process()
        save_model(quantizer.model.model, Path(path_out))
    return chosen


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a line for every node that has no constant weight, and with the process's logging as it was."""
    root, own = logging.getLogger(), logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")
    level, handlers = root.level, list(root.handlers)
    own.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
