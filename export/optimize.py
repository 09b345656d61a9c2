"""Fusions by ONNX Runtime itself, saved into the file, and the doubtful ones that there are to choose from.

SkipLayerNormalization is faster in some releases of ONNX Runtime and slower in others, branching on padding
pays on some providers only, and packed projections pay on small batches and several threads; so files of each
kind are made and timed (see precisions). What is saved here is loaded at level BASIC: a higher level would
fuse again what was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as NotImplementedByRuntime,
)

from bertcompress.errors import ExportError
from bertcompress.measure import CLOCKS, Conditions, best_clock, measure_files

SKIP_LAYER_NORM = "SkipLayerNormFusion"
# It hides a convolution's dense layer from the int8 quantizer, and gains nothing measurable in fp32.
TRANSPOSE_INTO_MATMUL = "MatmulTransposeFusion"
# Their nodes have no CUDA kernel, so that a session would go to the CPU and back for them.
CPU_FUSIONS = ("GemmActivationFusion",)
# A protobuf file ends at 2 GiB; the margin is for the graph itself. Above it weights go to a file PATH.data.
MAX_SINGLE_FILE_BYTES = 1_500_000_000
# Every error of ONNX Runtime derives from Exception alone; these are what loading an unsuitable file raises.
LOAD_ERRORS = (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplementedByRuntime,
    RuntimeException,
)
# Times several files under the same conditions: names to paths in, names to milliseconds out.
Timer = Callable[[Mapping[str, Path]], Mapping[str, float]]


@dataclass(frozen=True)
class FusionChoice:
    """Which doubtful fusions a file has, and the milliseconds by candidate (none: not measured) that decided.

    `fuse_skip_layer_norm`: residual sums within the layer norms; `branch_attention`: see module attention;
    `pack_projections`: see module packing.
    """

    fuse_skip_layer_norm: bool = False
    branch_attention: bool = True
    pack_projections: bool = False
    measured_ms: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**vars(self), "measured_ms": dict(self.measured_ms)}


# In the order in which a tie is settled: the first is the simplest file.
CANDIDATES = {
    " and ".join(words) or "plain": FusionChoice("fused" in words, "branched" in words, "packed" in words)
    for number in range(4)
    for words in combinations(("fused", "branched", "packed"), number)
}


def optimize(
    path_in: Path | str, path_out: Path | str, *, fuse_skip_layer_norm: bool = False, for_cuda: bool = False
) -> Path:
    """Write the graph as ONNX Runtime fuses it (level EXTENDED); `for_cuda` without what only CPUs run.

    Raises:
        ExportError: ONNX Runtime cannot load the graph.
    """
    path_in, path_out = Path(path_in), Path(path_out)
    path_out.parent.mkdir(parents=True, exist_ok=True)
    disabled = [TRANSPOSE_INTO_MATMUL]
    disabled += [] if fuse_skip_layer_norm else [SKIP_LAYER_NORM]
    disabled += CPU_FUSIONS if for_cuda else []
    return save_optimized(path_in, path_out, disabled)


def save_optimized(path_in: Path, path_out: Path, disabled: Sequence[str]) -> Path:
    """Let ONNX Runtime optimise a file at level EXTENDED, without the named fusions, and keep the result.

    Raises:
        ExportError: ONNX Runtime cannot load the graph.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path_out)
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if num_bytes(path_in) > MAX_SINGLE_FILE_BYTES:
        name = f"{path_out.name}.data"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", name)
    try:
        ort.InferenceSession(
            str(path_in),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(disabled),
        )
    except LOAD_ERRORS as error:
        raise ExportError(f"{path_in}: ONNX Runtime cannot optimise the graph: {error}") from error
    return path_out


def timer(conditions: Conditions, *, vocab_size: int, seconds: float = 1.0) -> Timer:
    """A Timer that reads the one latency clock: medians over interleaved calls, `seconds` a file at most."""

    def time_files(files: Mapping[str, Path]) -> dict[str, float]:
        summaries = measure_files(
            files,
            conditions,
            vocab_size=vocab_size,
            min_seconds=seconds / 2,
            max_seconds=seconds,
            percentiles=(50,),
            clock=CLOCKS[best_clock(conditions)],
        )
        return {name: summary.p50_ms for name, summary in summaries.items()}

    return time_files


def save_model(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model whose weights are in memory as one file, or as two where it is too large for one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if model.ByteSize() > MAX_SINGLE_FILE_BYTES:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")
    else:
        onnx.save(model, path)
    return path


def num_bytes(path: Path) -> int:
    """Size of an ONNX file and of the external weights beside it."""
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)
