"""Exported files under stated conditions: sessions with counted threads, inputs of full shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bertcompress.errors import BudgetError, ExportError, MissingExtraError

PROVIDERS: dict[str, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}


@dataclass(frozen=True, order=True)
class Conditions:
    """What a latency holds for; two latencies of different conditions are never compared."""

    batch_size: int = 1
    sequence_length: int = 32
    num_threads: int = 1
    precision: str = "fp32"
    provider: str = "cpu"

    def __str__(self) -> str:
        threads = "1 thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        shape = f"batch {self.batch_size} x {self.sequence_length} tokens"
        return f"{shape}, {threads}, {self.precision}, {self.provider}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def best_clock(conditions: Conditions) -> str:
    """The clock that busy neighbours disturb least: the thread's own where one CPU thread does all."""
    return "thread" if conditions.num_threads == 1 and conditions.provider == "cpu" else "wall"


def check_provider(provider: str) -> list[str]:
    """ONNX Runtime's provider list for "cpu" or "cuda".

    Raises:
        MissingExtraError: this onnxruntime was built without the provider.
        BudgetError: the word is unknown.
    """
    if provider not in PROVIDERS:
        raise BudgetError(f"provider: {provider!r} is unknown; use one of {', '.join(PROVIDERS)}")
    names = PROVIDERS[provider]
    if names[0] not in ort.get_available_providers():
        found = ", ".join(ort.get_available_providers())
        raise MissingExtraError(
            f"provider {provider}: this onnxruntime has only {found}; run "
            'pip uninstall onnxruntime && pip install "bertcompress[gpu]"'
        )
    return names


def session(
    path: Path | str | bytes, num_threads: int, provider: str = "cpu", *, optimize: bool = False
) -> ort.InferenceSession:
    """An ONNX Runtime session of an already optimised file, or of its bytes, its threads counted.

    Within a run they wait for work by spinning: to be woken for every node costs a small network more than a
    second thread saves it. Between runs they sleep.

    Opened at level BASIC: a higher level would undo the choice of fusions that was made at export. `optimize`
    opens at ONNX Runtime's own default level, as the files of others are meant to be.

    Raises:
        ExportError: the provider is there but could not start, so the run would fall back to another.
    """
    names = check_provider(provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_ENABLE_BASIC
    options.log_severity_level = 4  # what fails is raised; said once is enough
    # Spinning on after a run, threads would take time from the next contender, or another caller's session.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    given = path if isinstance(path, bytes) else str(path)
    opened = ort.InferenceSession(given, options, providers=names)
    if names[0] not in opened.get_providers():
        raise ExportError(
            f"{given!r:.200}: provider {provider} did not start; see ONNX Runtime's CUDA requirements"
        )
    return opened


def run(opened: ort.InferenceSession, feed: Mapping[str, np.ndarray]) -> np.ndarray:
    """The output (see `as_one`) on what the graph takes of the arrays (DistilBERT's has no segments)."""
    return as_one(opened.run(None, {given.name: feed[given.name] for given in opened.get_inputs()}))


def as_one(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """A network's outputs as one array: several of one shape lie side by side in a last axis."""
    return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)


def random_feed(
    opened: ort.InferenceSession, conditions: Conditions, *, vocab_size: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Inputs of the conditions' full shape for all inputs of the graph: unpadded, ids below `vocab_size`."""
    shape = (conditions.batch_size, conditions.sequence_length)
    arrays = {
        "input_ids": np.random.default_rng(seed).integers(0, vocab_size, shape, dtype=np.int64),
        "attention_mask": np.ones(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }
    return {graph_input.name: arrays[graph_input.name] for graph_input in opened.get_inputs()}


def timed_call(
    path: Path | str, conditions: Conditions, *, vocab_size: int, seed: int = 0, optimize: bool = False
) -> Callable[[], object]:
    """A call without arguments that runs the file once under the conditions, for `measure_interleaved`."""
    opened = session(path, conditions.num_threads, conditions.provider, optimize=optimize)
    feed = random_feed(opened, conditions, vocab_size=vocab_size, seed=seed)
    return lambda: opened.run(None, feed)
