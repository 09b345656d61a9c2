"""Checkpoints: all that a training changes, in one safetensors file, so that a killed one goes on from there.

Each part of the training gives its state as tensors and JSON values, and takes it back. Nothing is pickled:
the JSON lies in the file's metadata, so that one rename replaces the whole checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bertcompress.data.random_state import Stateful
from bertcompress.errors import RunFolderError
from bertcompress.files import make_atomically

CHECKPOINT_NAME = "checkpoint.safetensors"
METADATA_KEY = "bertcompress"


class Checkpoint:
    """The file at `path`, and the parts of a training that it holds; process 0 writes, all read."""

    def __init__(self, path: Path, parts: Mapping[str, Stateful], accelerator: Accelerator) -> None:
        self._path, self._parts, self._accelerator = path, parts, accelerator

    def save(self, step: int) -> None:
        """Write the state after `step` steps, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        values: dict[str, dict[str, Any]] = {}
        for part, stateful in self._parts.items():
            values[part] = {}
            for name, value in stateful.state().items():
                if isinstance(value, Tensor):
                    tensors[f"{part}/{name}"] = value.detach().cpu().contiguous()
                else:
                    values[part][name] = value
        if self._accelerator.is_main_process:
            metadata = {METADATA_KEY: json.dumps({"step": step, "values": values})}
            make_atomically(self._path, lambda temporary: save_file(tensors, temporary, metadata))
        self._accelerator.wait_for_everyone()

    def restore(self) -> int:
        """Bring every part back to where it was; the number of steps done, 0 without a checkpoint.

        Raises:
            RunFolderError: the file is not a checkpoint of these parts.
        """
        if not self._path.exists():
            return 0
        try:
            with safe_open(self._path, framework="pt") as file:
                described = json.loads((file.metadata() or {})[METADATA_KEY])
                states = {part: dict(described["values"][part]) for part in self._parts}
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    part, _, rest = name.partition("/")
                    # Clone: the tensor is a view of the file, which the next checkpoint replaces.
                    states[part][rest] = file.get_tensor(name).clone()
            for part, stateful in self._parts.items():
                stateful.restore(states[part])
        except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
            raise RunFolderError(
                f"{self._path}: is no checkpoint of this training ({error}); delete it and run again"
            ) from error
        return int(described["step"])


class Weights:
    """A model's parameters and buffers."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state(self) -> dict[str, Any]:
        return dict(self._model.state_dict())

    def restore(self, state: Mapping[str, Any]) -> None:
        self._model.load_state_dict(state)


class OptimizerState:
    """What an optimizer remembers of each parameter, numbered in its groups' order."""

    def __init__(self, optimizer: Any, accelerator: Accelerator) -> None:
        self._optimizer, self._scaler = optimizer, accelerator.scaler

    def state(self) -> dict[str, Any]:
        remembered = self._optimizer.state_dict()["state"]
        tensors = {
            f"{index}.{key}": value for index, slot in remembered.items() for key, value in slot.items()
        }
        return tensors | {"scaler": None if self._scaler is None else self._scaler.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        remembered: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            index, _, key = name.partition(".")
            if key:
                remembered.setdefault(int(index), {})[key] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": remembered, "param_groups": groups})
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])


class TorchRandom:
    """Torch's own generators, which dropout reads, of every process."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def state(self) -> dict[str, Any]:
        device = self._accelerator.device
        mine = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(device)
        every = gather_object([mine])
        return {f"{index}.{kind}": state for index, one in enumerate(every) for kind, state in one.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        mine = self._accelerator.process_index
        torch.set_rng_state(state[f"{mine}.cpu"])
        if self._accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(state[f"{mine}.cuda"], self._accelerator.device)
