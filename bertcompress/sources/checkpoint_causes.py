"""Why a checkpoint does not fit its model, guessed from the names and shapes of what does not fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What saved the model under another name, by the prefix of its tensors.
WRAPPERS = {
    "module.": "DataParallel or DistributedDataParallel: save model.module",
    "_orig_mod.": "torch.compile: save model._orig_mod",
    "model.": "a module that holds the model: save the model inside",
    "base_model.model.": "peft: merge the adapter with merge_and_unload",
}
ADAPTERS = ("lora_", "ia3_", "adapter", "base_layer", "modules_to_save", "prompt_encoder")
QUANTIZED = (
    "SCB",
    "scale",
    "scales",
    "weight_scale",
    "scale_inv",
    "qweight",
    "qzeros",
    "absmax",
    "zero_point",
)
HEADS = ("classifier.", "pre_classifier.", "qa_outputs.", "score.", "cls.", "lm_head.", "pooler.")
_LAYER = re.compile(r"\blayer\.(\d+)\.")


@dataclass(frozen=True)
class Tensor:
    """A tensor as a safetensors file describes it: its type, such as F32, and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Gap:
    """Tensors that a model wants and a checkpoint lacks, the reverse, and (stored, wanted) shapes by name."""

    missing: Collection[str] = ()
    unexpected: Collection[str] = ()
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)


def likely_causes(config: Any, wanted: Sequence[str], gap: Gap, stored: Sequence[str]) -> list[str]:
    """One line a cause with its remedy; one that says where to look when none is recognized."""
    causes = [*_of_names(wanted, gap), *_of_parts(config, gap, stored), *_of_shapes(gap)]
    unknown = "save the model whole with its own save_pretrained, config and weights together"
    return [f"likely cause: {cause}" for cause in causes] or [f"what to do: {unknown}"]


def _of_names(wanted: Sequence[str], gap: Gap) -> Iterator[str]:
    if any(mark in name for name in gap.unexpected for mark in ADAPTERS):
        yield "adapters that are not merged; merge them with peft's merge_and_unload, then save_pretrained"
    elif any(name.split(".")[-1] in QUANTIZED for name in gap.unexpected):
        yield "quantized weights; give the checkpoint before quantization"
    elif prefix := _wrapper(wanted, gap.unexpected):
        known = WRAPPERS.get(prefix, "a module that holds the model: save the model inside")
        yield f'its tensors are named "{prefix}*", as written by {known} with save_pretrained'


def _wrapper(wanted: Sequence[str], unexpected: Collection[str]) -> str | None:
    """What stands before the names that the model knows, in the names that it does not."""
    for name in sorted(unexpected):
        inner = max((each for each in wanted if name.endswith(f".{each}")), key=len, default=None)
        if inner is not None:
            return name.removesuffix(inner)
    return None


def _of_parts(config: Any, gap: Gap, stored: Sequence[str]) -> Iterator[str]:
    parts = [name.removeprefix(f"{config.model_type}.") for name in gap.missing]
    others = sorted({name.split(".")[0] for name in gap.unexpected if name.startswith(HEADS)})
    if parts and all(part.startswith(HEADS) for part in parts):
        held = f"the head {', '.join(others)} of another task" if others else "an encoder without its head"
        yield f"it holds {held}; fine-tune it for this task, or give the folder that fine-tuning wrote"
    elif others and not gap.missing:
        yield f"a head of another task, {', '.join(others)}; give a checkpoint with one head"
    theirs, ours = _num_layers(stored), getattr(config, "num_hidden_layers", None)
    in_layers = any(_LAYER.search(name) for name in (*gap.missing, *gap.unexpected))
    if in_layers and theirs and ours and theirs != ours:
        yield f"it stores {theirs} layers and its config.json says num_hidden_layers {ours}; make them agree"


def _num_layers(stored: Sequence[str]) -> int:
    found = [int(match[1]) for name in stored if (match := _LAYER.search(name))]
    return max(found, default=-1) + 1


def _of_shapes(gap: Gap) -> Iterator[str]:
    keys = {
        "word_embeddings.weight": "vocab_size",
        "position_embeddings.weight": "max_position_embeddings",
        "token_type_embeddings.weight": "type_vocab_size",
    }
    for ending, key in keys.items():
        if any(name.endswith(ending) for name in gap.mismatched):
            yield f"{key} in config.json is another model's; give the config.json that was saved with it"
    if any(name.startswith(("classifier.", "qa_outputs.")) for name in gap.mismatched):
        yield "id2label or num_labels in config.json is not of this head; name as many labels as it has"
