"""fp32: the network as it was trained, with ONNX Runtime's fusions."""

from __future__ import annotations

from pathlib import Path

from bertcompress.export.precisions.precision import FileBytes, Made, Nodes, Precision, Source


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
    bytes=FileBytes(
        dense_layer=lambda inputs, outputs: 4 * inputs * outputs, table=4, other=4, graph=4_100, layer_nodes=0
    ),
    nodes=Nodes(dense=frozenset({"MatMul"}), gelu="BiasGelu"),
    fusions_of="fp32",
    tolerance=1e-4,
)
