"""Does a file hold the model's weights, all of them and nothing else? Asked of the bytes, not of the logits.

Logits cannot tell: most rows of an embedding table are met by no test input, and attention is blind to the
bias of its keys. In fp32 and fp16 every weight must be there bit for bit, as it is or transposed; in int8 to
half a step, in blocks of 4 or 8 bits to one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import convert_np_to_float16
from torch import nn

from bertcompress.errors import VerificationError
from bertcompress.export.packing import unpacked
from bertcompress.export.precisions import find_precision
from bertcompress.export.weight_only import BLOCK_SCALES, BLOCKED

Arrays: TypeAlias = Mapping[str, np.ndarray]
Key: TypeAlias = tuple[tuple[int, ...], bytes]
FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
QUANTIZED, SCALE, ZERO_POINT = "_quantized", "_scale", "_zero_point"
# Scales of tables that ONNX Runtime has multiplied into those of the dense layer behind them.
MERGED_SCALES = "scales_mul"
# Half a step of the int8 scale, and the rounding of scales to fp32.
MOST_STEPS = 0.501
# A block's scale puts its largest weight on the lowest level; one of the other sign may lie a level too high.
MOST_BLOCK_STEPS = 1.001


def check_weights(path: Path | str, model: nn.Module, *, precision: str = "fp32") -> FileWeights:
    """Hold a file's tensors against the model's parameters; gives back what the file holds of each.

    Single numbers are no weights, and the scales of int8 are checked with the tensors that they scale.

    Raises:
        VerificationError: a parameter is missing from the file, or a tensor there is none of the model's.
    """
    found = _match(Path(path), model, precision)
    strange = [name for name, matched in found.matched.items() if matched is None]
    problems = [f"{name}: is none of the model's weights" for name in strange]
    # Parameters of equal values are one and the same to the exporter.
    present = {_key(found.parameters[name]) for name in found.matched.values() if name is not None}
    problems += [
        f"{name}: the file has no such weight"
        for name, value in found.parameters.items()
        # A bias of zeros is left out.
        if _key(value) not in present and value.any()
    ]
    if problems:
        raise VerificationError.from_problems(f"{path} ({precision})", problems)
    return found


@dataclass(frozen=True)
class _Rounding:
    """The parameter that an int8 tensor rounds to half a step, and the scales for which it does."""

    parameter: str
    lowest: np.ndarray
    highest: np.ndarray


@dataclass(frozen=True)
class FileWeights:
    """A file's tensors and a model's parameters by name, and for every weight in the file whose it is."""

    tensors: Arrays
    parameters: Arrays
    matched: Mapping[str, str | None]
    rounded: Mapping[str, _Rounding | None]

    def stored(self) -> dict[str, np.ndarray]:
        """What the file holds of every parameter, as floats of the parameter's shape.

        Scales that the file holds only as a product are parted so that the product is the file's.
        """
        stored = dict(self.parameters)
        for name, matched in self.matched.items():
            if matched is None or not name.endswith((QUANTIZED, *BLOCKED)):
                continue
            values = _widened(name, self)
            for parameter, weights in self.parameters.items():
                if _key(weights) == _key(self.parameters[matched]):
                    stored[parameter] = _oriented(values, weights)
        return stored


def _match(path: Path, model: nn.Module, precision: str) -> FileWeights:
    parameters = {
        name: _stored(value.detach().cpu().float().numpy(), precision)
        for name, value in model.named_parameters()
    }
    graph = onnx.load(path, load_external_data=False).graph
    tensors = unpacked(
        {tensor.name: numpy_helper.to_array(tensor, str(path.parent)) for tensor in graph.initializer}
    )
    names = {key: name for name, value in parameters.items() for key in _keys(value)}
    rounded = {name: _rounding(name, tensors, parameters) for name in tensors if name.endswith(QUANTIZED)}
    matched = {name: None if found is None else found.parameter for name, found in rounded.items()}
    matched |= {
        name: _blocked(name, tensors, parameters) for name in tensors if name.endswith(tuple(BLOCKED))
    }
    for name, value in tensors.items():
        if value.dtype not in FLOATS or not value.ndim or name.endswith((SCALE, BLOCK_SCALES)):
            continue
        if MERGED_SCALES not in name:
            matched[name] = names.get(_key(value))
        elif _table_of(value, rounded.values()) is None:
            matched[name] = None
    return FileWeights(tensors, parameters, matched, rounded)


def _stored(value: np.ndarray, precision: str) -> np.ndarray:
    """A parameter in the type that a file of the precision keeps what it does not quantize in."""
    return convert_np_to_float16(value) if find_precision(precision).floats == "float16" else value


def _key(value: np.ndarray) -> Key:
    """Equal for arrays of equal bits and shapes, sizes of one aside."""
    return tuple(size for size in value.shape if size != 1), np.ascontiguousarray(value).tobytes()


def _keys(value: np.ndarray) -> list[Key]:
    """Keys of an array as it is and, where it is a matrix, transposed."""
    return [_key(value), _key(value.T)] if value.ndim == 2 else [_key(value)]


def _rounding(name: str, tensors: Arrays, parameters: Arrays) -> _Rounding | None:
    """What an int8 tensor (rows, columns) rounds, by the scale that stands in the file if one does."""
    levels, by_column = _levels(name, tensors)
    stated = tensors.get(name.removesuffix(QUANTIZED) + SCALE)
    for parameter, weights in parameters.items():
        for candidate in (weights, weights.T) if weights.ndim == 2 else ():
            if candidate.shape != levels.shape:
                continue
            lowest, highest = _allowed_scales(levels, candidate, by_column=by_column)
            scale = (lowest + highest) / 2 if stated is None else stated
            if bool(((lowest <= scale) & (scale <= highest)).all()):
                return _Rounding(parameter, lowest, highest)
    return None


def _levels(name: str, tensors: Arrays) -> tuple[np.ndarray, bool]:
    """The levels (rows, columns) of an int8 tensor, and whether each column has a scale of its own."""
    zero_point = tensors.get(name.removesuffix(QUANTIZED) + ZERO_POINT, np.zeros((), np.int8))
    return tensors[name].astype(np.float32) - zero_point.astype(np.float32), zero_point.ndim == 1


def _block_values(name: str, tensors: Arrays) -> tuple[np.ndarray, np.ndarray, int]:
    """Values and steps (columns, rows) of blocks of few bits (columns, blocks, bytes), and a block's rows."""
    stem, bits = next(
        (name.removesuffix(ending), bits) for ending, bits in BLOCKED.items() if name.endswith(ending)
    )
    packed, scales = tensors[name], tensors[stem + BLOCK_SCALES][..., None]  # (columns, blocks, 1)
    nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1)
    levels = (nibbles if bits == 4 else packed).astype(np.float32) - 2 ** (bits - 1)
    steps = np.broadcast_to(np.abs(scales), levels.shape)
    return (levels * scales).reshape(len(packed), -1), steps.reshape(len(packed), -1), levels.shape[-1]


def _blocked(name: str, tensors: Arrays, parameters: Arrays) -> str | None:
    """The parameter (rows, columns) that blocks of 4 or 8 bits are, to one step."""
    found, steps, block_size = _block_values(name, tensors)
    for parameter, weights in parameters.items():
        for candidate in (weights, weights.T) if weights.ndim == 2 else ():
            columns, rows = candidate.shape
            if columns != len(found) or not 0 <= found.shape[1] - rows < block_size:
                continue
            error = np.abs(candidate - found[:, :rows])
            if bool((error <= MOST_BLOCK_STEPS * steps[:, :rows]).all()):
                return parameter
    return None


def _allowed_scales(
    levels: np.ndarray, weights: np.ndarray, *, by_column: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and largest scale by which levels are the weights to half a step; crossed if none is."""
    size = np.abs(levels)
    signed = np.where(levels == 0, np.abs(weights), weights * np.sign(levels))
    axis = 0 if by_column else None
    lowest = signed / (size + MOST_STEPS)
    highest = np.where(size > 0, signed / np.maximum(size - MOST_STEPS, 1 - MOST_STEPS), np.inf)
    # Levels that are all zero allow any scale above the lowest.
    high = highest.min(axis=axis)
    return lowest.max(axis=axis), np.where(np.isfinite(high), high, np.finfo(np.float32).max)


def _table_of(scales: np.ndarray, rounded: Iterable[_Rounding | None]) -> tuple[_Rounding, _Rounding] | None:
    """The table and the dense layer behind it whose scales merged ones (columns,) multiply, if any do."""
    found = [each for each in rounded if each is not None]
    layers = [each for each in found if each.lowest.shape == scales.shape]
    tables = [each for each in found if each.lowest.ndim == 0]
    for table, layer in itertools.product(tables, layers):
        lowest, highest = layer.lowest * table.lowest, layer.highest * table.highest
        if bool(((lowest <= scales) & (scales <= highest)).all()):
            return table, layer
    return None


def _widened(name: str, found: FileWeights) -> np.ndarray:
    """The floats that a narrowed tensor stands for, (rows, columns)."""
    if not name.endswith(QUANTIZED):
        values, _, _ = _block_values(name, found.tensors)
        return values.T
    levels, _ = _levels(name, found.tensors)
    scale = found.tensors.get(name.removesuffix(QUANTIZED) + SCALE)
    if scale is not None:
        return np.asarray(levels * scale)
    rounding = found.rounded[name]
    for merged, scales in found.tensors.items():
        if MERGED_SCALES in merged and (pair := _table_of(scales, found.rounded.values())) is not None:
            table, layer = pair
            if rounding is layer:
                return np.asarray(levels * (scales / _middle(table)))
    assert rounding is not None, "a tensor that matches was rounded"
    return np.asarray(levels * _middle(rounding))


def _middle(rounding: _Rounding) -> np.ndarray:
    """The scale in the middle of those allowed."""
    return np.asarray((rounding.lowest + rounding.highest) / 2)


def _oriented(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values as the parameter lies that they are near to: as they are or transposed, without padding rows."""
    rows = weights.size // values.shape[1]
    candidates = [each for each in (values[:rows], values[:rows].T) if each.shape == weights.shape]
    return min(candidates, key=lambda each: float(np.abs(each - weights).max()))
