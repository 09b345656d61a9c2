"""What a precision declares of itself.

To add one, write its file here, list it in the registry (`PRECISIONS`), and add its word to
bertcompress/space/precisions.py. Recipes, commands, serving, export, its checks, the size estimate and the
model card read from these; tests/test_precision_registry.py tests whatever is listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bertcompress.space.precisions import NEED_ROWS, PrecisionWord

if TYPE_CHECKING:
    from bertcompress.export.calibration import Calibration
    from bertcompress.export.optimize import FusionChoice

# How a file was made, as JSON values for the record of its export.
Made: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """What a file is written from.

    `converted` is PyTorch's graph, `fp32` the same as ONNX Runtime fuses it, `fusion` says how; `calibration`
    holds rows of the user's data, if there are any.
    """

    converted: Path
    fp32: Path
    fusion: FusionChoice
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Nodes:
    """The nodes that ONNX Runtime makes of a network in a precision.

    `dense`: those that a dense layer may be; `gelu`: that of a feed-forward.
    """

    dense: frozenset[str]
    gelu: str


@dataclass(frozen=True)
class FileBytes:
    """What a file takes, in bytes.

    `dense_layer(inputs, outputs)` is for a dense layer's weights, `table` for a weight of the words and
    segments, `other` for any other weight. The nodes take `graph` once, and `layer_nodes` for each dense
    layer of an operator beyond what its kind declares for fp32 (`OperatorKind.graph_bytes`); both were read
    off files.
    """

    dense_layer: Callable[[int, int], int]
    table: int
    other: int
    graph: int
    layer_nodes: int


def _nothing(*_: Any) -> None:
    """Nothing to say."""


def _no_entries(_: Path, __: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing to check besides."""
    return {}


@dataclass(frozen=True)
class Precision:
    """A precision that a file can have: its word in a recipe, and the file's name in an exported folder.

    - `summary`: what is narrowed, in a few words, for help.
    - `write(source, path)`: writes the file; returns how it was made, empty where there is no choice. What it
      imports stays in the function: the registry is read where neither onnx nor torch is needed.
    - `bytes`: how large the file will be.
    - `nodes`: what the audit looks for in it.
    - `fusions_of`: the precision whose measured times decide this file's fusions.
    - `tolerance`: how far logits of order one may lie from PyTorch's. None where narrowing makes another
      network, which the task's metric judges; such a file's wiring is checked with activations unrounded.
    - `check(path, made)`: checks that this precision alone needs, and what they add to the file's record.
    - `floats`: the type of weights that are not quantized.
    - `provider`: where files are served; those for GPUs take no fusion that CPUs alone run.
    - `obstacle(provider)`: why such a file should not be served there, or None.
    - `slow_for_want_of(provider)`: what the processor lacks to make it fast there, or None.
    - `how_made(made)`, `limits`: sentences for the model card.
    """

    word: PrecisionWord
    file_name: str
    summary: str
    write: Callable[[Source, Path], Made]
    bytes: FileBytes
    nodes: Nodes
    fusions_of: PrecisionWord
    tolerance: float | None = None
    check: Callable[[Path, Mapping[str, Any]], dict[str, Any]] = _no_entries
    floats: Literal["float32", "float16"] = "float32"
    provider: Literal["cpu", "cuda"] = "cpu"
    obstacle: Callable[[str], str | None] = _nothing
    slow_for_want_of: Callable[[str], str | None] = _nothing
    how_made: Callable[[Mapping[str, Any]], str | None] = _nothing
    limits: tuple[str, ...] = ()

    @property
    def needs_rows(self) -> bool:
        """Whether the file is scaled by rows of the user's data."""
        return self.word in NEED_ROWS
