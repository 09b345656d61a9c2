"""fp16: every weight and activation in half precision, for GPUs; ids stay whole and logits come out in fp32.

CPUs have no kernels for it: ONNX Runtime casts back and forth there, which is slower than fp32 but lets the
file be verified without a GPU."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from bertcompress.export.optimize import save_model


def convert_fp16(path_in: Path | str, path_out: Path | str) -> Path:
    """Write the fp16 form of a graph that `optimize` wrote for CUDA.

    Types are not inferred: contrib operators have no inference, and all that is float here becomes half.
    """
    model = convert_float_to_float16(onnx.load(path_in), keep_io_types=True, disable_shape_infer=True)
    return save_model(model, Path(path_out))
