"""fp32: the network as it was trained, with ONNX Runtime's fusions."""

from __future__ import annotations

from pathlib import Path

from bertcompress.export.precisions.precision import Made, Precision, Source


def _write(source: Source, path: Path) -> Made:
    """Write the converted graph with its fusions, to which all other files are narrowed."""
    from bertcompress.export.optimize import optimize
    from bertcompress.export.packing import pack_projections

    optimize(source.converted, path, fuse_skip_layer_norm=source.fusion.fuse_skip_layer_norm)
    if source.fusion.pack_projections:
        pack_projections(path)
    return {}


FP32 = Precision(
    word="fp32",
    file_name="model.onnx",
    summary="nothing is narrowed",
    write=_write,
    fusions_of="fp32",
    tolerance=1e-4,
)
