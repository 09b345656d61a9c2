"""A model and its configuration from a checkpoint that is loaded whole, or refused with the likely cause.

transformers draws at random what a checkpoint lacks and drops what it does not know. Its loading report is
read here, in both majors, so that no such network gets further."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers import logging as transformers_logging
from transformers.utils.hub import cached_file

from bertcompress.errors import TeacherError
from bertcompress.sources.checkpoint_causes import Gap, Tensor, likely_causes

WEIGHTS, SHARDS, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_config.json"
FLOATS = ("F64", "F32", "F16", "BF16")
NAMED = 5
# Of pretraining: every fine-tuned model leaves them behind, and some checkpoints keep them.
PRETRAINING_HEADS = (
    "cls.", "lm_head.", "generator_lm_head.", "generator_predictions.", "discriminator_predictions.",
    "vocab_transform.", "vocab_layer_norm.", "vocab_projector.",
)  # fmt: skip
# Counters that older checkpoints hold, which are no weights.
COUNTERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# Of the encoder, where this class of model has none.
POOLERS = ("pooler.dense.weight", "pooler.dense.bias")


def read_config(location: str, subject: str) -> PretrainedConfig:
    """The configuration of a checkpoint whose weights are plain floats.

    Raises:
        TeacherError: it cannot be read, or its weights are quantized.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(location)
    except Exception as error:  # Which errors a config.json raises depends on the version.
        raise TeacherError(f"{subject} cannot be loaded: {first_line(error)}") from error
    if getattr(config, "quantization_config", None):
        raise TeacherError(
            f"{subject}: its config has a quantization_config; give the checkpoint before quantization, in "
            "fp32, fp16 or bf16: export quantizes on its own"
        )
    return config


def label_names_of(config: PretrainedConfig, subject: str | None = None) -> list[str]:
    """The names of the labels in the order of the logits; names that are numbers become text.

    Raises:
        TeacherError: the numbers are not 0, 1, 2 and so on, or labels share a name.
    """
    subject = subject or str(config.name_or_path or config.model_type)
    named: Mapping[Any, Any] = config.id2label or {}
    numbers = sorted(int(number) for number in named)
    if numbers != list(range(len(numbers))):
        raise TeacherError(
            f"{subject}: id2label has the numbers {numbers}; name every label of the head, from 0 on"
        )
    if None in named.values():
        raise TeacherError(f"{subject}: id2label has a label without a name; name every label of the head")
    names = [str({int(number): name for number, name in named.items()}[number]) for number in numbers]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise TeacherError(f"{subject}: id2label names {', '.join(repeated)} twice; give every label its own")
    return names


def load_whole(
    model_class: Any,
    location: str,
    *,
    subject: str,
    may_lack: Collection[frozenset[str]] = (),
    may_hold: tuple[str, ...] = (),
    **arguments: Any,
) -> tuple[Any, frozenset[str]]:
    """The model in fp32 and eval mode with every tensor of the checkpoint, and the names that it lacked.

    `may_lack` are groups of tensors that may be missing, each group whole; transformers draws them from
    torch's generator. Tensors whose names start with one of `may_hold` may be stored without fitting the
    model. `arguments` go to from_pretrained.

    Raises:
        TeacherError: a tensor is missing, unknown, of another shape, no float, or holds NaN or infinity.
    """
    stored = _stored_tensors(location, subject)
    _refuse_integers(stored, subject)
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                location,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **arguments,
            )
    except Exception as error:  # Broken files raise whatever their reader raises.
        raise TeacherError(f"{subject} cannot be loaded: {first_line(error)}") from error
    if getattr(model, "_hf_peft_config_loaded", False):
        raise TeacherError(_unmerged(subject))
    gap = _gap(model, report, stored)
    lacking = _allowed(gap.missing, may_lack)
    gap = Gap(
        frozenset(gap.missing) - lacking,
        {name for name in gap.unexpected if not name.startswith((*PRETRAINING_HEADS, *may_hold))},
        {name: shapes for name, shapes in gap.mismatched.items() if not name.startswith(may_hold)},
    )
    if gap:
        raise TeacherError(_described(subject, model, gap, [*stored]))
    _refuse_non_finite(model, subject)
    return model.eval(), lacking


def first_line(error: BaseException) -> str:
    """What an error says first, up to a line that leads to no other; its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    led = 1 + next((number for number, line in enumerate(lines) if not line.endswith(":")), 0)
    return " ".join(lines[:led]) or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' own report is not shown: it is read, and told in our words."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _stored_tensors(location: str, subject: str) -> dict[str, Tensor]:
    """Type and shape of every tensor in the checkpoint's files, one or several."""
    if (Path(location) / ADAPTER).is_file():
        raise TeacherError(_unmerged(subject))
    try:
        paths = _weight_files(location)
        stored = {}
        for path in paths:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # It is no mapping.
                    view = file.get_slice(name)
                    stored[name] = Tensor(view.get_dtype(), tuple(view.get_shape()))
    except Exception as error:  # As in load_whole.
        raise TeacherError(
            f"{subject} cannot be loaded: {first_line(error)}; looked for {WEIGHTS} or {SHARDS}"
        ) from error
    return stored


def _weight_files(location: str) -> list[str]:
    try:
        return [str(cached_file(location, WEIGHTS))]
    except OSError:
        index = cached_file(location, SHARDS)
    shards = json.loads(Path(str(index)).read_text(encoding="utf-8"))["weight_map"].values()
    return [str(cached_file(location, shard)) for shard in sorted(set(shards))]


def _unmerged(subject: str) -> str:
    return (
        f"{subject}: holds {ADAPTER}: an adapter that is not merged into the weights would be lost; merge "
        "it with peft's merge_and_unload, and save the model with save_pretrained to a new folder"
    )


def _refuse_integers(stored: Mapping[str, Tensor], subject: str) -> None:
    others = [name for name, tensor in stored.items() if tensor.dtype not in FLOATS]
    found = [name for name in others if not name.endswith(COUNTERS)]
    if found:
        kinds = ", ".join(sorted({stored[name].dtype for name in found}))
        raise TeacherError(
            f"{subject}: {named(found)} of type {kinds}: quantized weights, or none; give the checkpoint "
            "before quantization, in fp32, fp16 or bf16"
        )


def _gap(model: PreTrainedModel, report: Mapping[str, Any], stored: Mapping[str, Tensor]) -> Gap:
    """What the loading report says; transformers 4 names mismatched tensors without their shapes."""
    own = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    mismatched = {}
    for entry in report["mismatched_keys"]:
        name = entry if isinstance(entry, str) else entry[0]
        known = stored.get(name) or stored.get(name.removeprefix(f"{model.base_model_prefix}."))
        mismatched[name] = (known.shape if known else (), own.get(name, ()))
    own_poolers = {f"{prefix}{name}" for name in POOLERS for prefix in ("", f"{model.base_model_prefix}.")}
    unexpected = {name for name in report["unexpected_keys"] if not name.endswith(COUNTERS)} - own_poolers
    return Gap(frozenset(report["missing_keys"]), frozenset(unexpected), mismatched)


def _allowed(missing: Collection[str], may_lack: Collection[frozenset[str]]) -> frozenset[str]:
    return frozenset(name for group in may_lack if group <= set(missing) for name in group)


def _described(subject: str, model: PreTrainedModel, gap: Gap, stored: list[str]) -> str:
    lines = [f"{subject}: the checkpoint is not a whole {type(model).__name__}"]
    if gap.missing:
        lines.append(f"missing: {named(gap.missing)}")
    if gap.unexpected:
        lines.append(f"stored, but of no use to the model: {named(gap.unexpected)}")
    if gap.mismatched:
        shapes = [
            f"{name} is {theirs}, not {ours}" for name, (theirs, ours) in sorted(gap.mismatched.items())
        ]
        lines.append(f"of another shape than its config says: {named(shapes)}")
    return "\n  ".join([*lines, *likely_causes(model.config, [*model.state_dict()], gap, stored)])


def _refuse_non_finite(model: PreTrainedModel, subject: str) -> None:
    tensors = model.state_dict().items()
    found = [name for name, tensor in tensors if not bool(torch.isfinite(tensor).all())]
    if found:
        raise TeacherError(
            f"{subject}: holds NaN or infinity in {named(found)}; give an earlier checkpoint, or train again "
            "with a lower learning rate or in fp32"
        )


def named(names: Collection[str]) -> str:
    """The number of names, and the first few of them."""
    ordered = sorted(names)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return f"{len(ordered)} tensor{'s' * (len(ordered) != 1)}: {', '.join(ordered[:NAMED])}{more}"
