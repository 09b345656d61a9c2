"""fp16: weights and activations in half precision, for GPUs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bertcompress.export.precisions.precision import FileBytes, Made, Nodes, Precision, Source


def _write(source: Source, path: Path) -> Made:
    """Write the converted graph in half precision, without the fusions that CPUs alone run."""
    from bertcompress.export.half import convert_fp16
    from bertcompress.export.optimize import optimize

    with tempfile.TemporaryDirectory() as folder:
        for_cuda = optimize(
            source.converted,
            Path(folder) / "cuda.onnx",
            fuse_skip_layer_norm=source.fusion.fuse_skip_layer_norm,
            for_cuda=True,
        )
        convert_fp16(for_cuda, path)
    return {}


FP16 = Precision(
    word="fp16",
    file_name="model_fp16.onnx",
    summary="half precision, for GPUs",
    write=_write,
    bytes=FileBytes(
        dense_layer=lambda inputs, outputs: 2 * inputs * outputs,
        table=2,
        other=2,
        graph=4_540,
        layer_nodes=-80,
    ),
    nodes=Nodes(dense=frozenset({"MatMul"}), gelu="BiasGelu"),
    fusions_of="fp32",
    # Half precision has 11 bits, and a chain of roundings loses some of them.
    tolerance=2e-2,
    floats="float16",
    provider="cuda",
    obstacle=lambda provider: (
        "fp16 on CPU: no kernels, every value is cast back and forth" if provider == "cpu" else None
    ),
)
