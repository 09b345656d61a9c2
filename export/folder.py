"""The self-contained folder of a finished model: weights, labels, tokenizer, ONNX files and their record."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bertcompress.errors import ExportError
from bertcompress.export.audit import audit
from bertcompress.export.calibration import Calibration
from bertcompress.export.card import model_card
from bertcompress.export.convert import OPSET, export_onnx
from bertcompress.export.heads import SEQUENCE, TOKEN, Head
from bertcompress.export.optimize import FusionChoice, Timer
from bertcompress.export.own_folder import own_folder
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.recommend import Trial, precision_problems, recommend
from bertcompress.export.record import RECORD, hashed_files
from bertcompress.export.teachers import TeacherGraph
from bertcompress.export.tokenizer_files import (
    Text,
    check_tokenizer,
    tokenizer_settings,
    write_tokenizer,
)
from bertcompress.export.verify import compare, reference_of
from bertcompress.export.weights import check_weights
from bertcompress.export.widen import check_wiring
from bertcompress.export.write import choose_fusions, write_precisions
from bertcompress.measure import machine_key
from bertcompress.measure.versions import versions
from bertcompress.model.compact import CompactBertForSequenceClassification
from bertcompress.model.convert_bert import as_stock_bert, stock_obstacles
from bertcompress.sources.limits import input_limits
from bertcompress.sources.tokenizer import too_many_tokens


@dataclass(frozen=True)
class ExportRows:
    """Rows of the user's data: `verified` against PyTorch, and those that int8 is calibrated on.

    On `texts`, or pairs of them, the folder has to give the inputs that the tokenizer gives.
    """

    verified: Sequence[Mapping[str, Tensor]] = ()
    calibration: Calibration | None = None
    texts: Sequence[Text] = ()


def export_folder(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    label_names: Sequence[str],
    out_dir: Path | str,
    *,
    precisions: Sequence[str] = ("fp32", "int8"),
    max_length: int | None = None,
    rows: ExportRows | None = None,
    trial: Trial | None = None,
    about: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write everything that serving needs and give back the record, which is also in export.json.

    `model` is a compact model or a Hugging Face one of BERT's family with a head (see teachers, heads). The
    timer of the `trial` decides the fusions as well. Weights are written as stock BERT where BERT has such a
    network. The model's configuration takes the label names. Texts are cut at `max_length`, by default where
    the tokenizer cuts them. `about` goes into the model card, README.md (see card).

    The folder is made beside `out_dir` and takes its place once it is whole, so that an earlier export there
    stays until then and goes then. A folder that holds anything else is refused (see own_folder).

    Raises:
        ExportError: an unknown precision, int8_static without calibration, a slow tokenizer, a graph without
            its fusions, or an `out_dir` that is not an export's own.
        OutputError: the disk is full or read-only.
        TeacherError: the model is none of BERT's family, or has parts that its chain does not have.
        VerificationError: the fp32 or fp16 file disagrees with PyTorch, or any file holds other weights, is
            wired otherwise, or has other scales of activations than calibration found, or the tokenizer that
            is served gives other inputs.
    """
    rows, trial = rows or ExportRows(), trial or Trial()
    _check(model, tokenizer, label_names, precision_problems(precisions, rows.calibration))
    traced = model if isinstance(model, CompactBertForSequenceClassification) else TeacherGraph(model)
    with own_folder(out_dir, model.config.name_or_path or None) as made:
        record = _write_folder(
            made,
            traced,
            model=model,
            tokenizer=tokenizer,
            label_names=label_names,
            precisions=precisions,
            max_length=max_length,
            rows=rows,
            trial=trial,
            about=about or {},
        )
    return record


def _write_folder(
    folder: Path,
    traced: CompactBertForSequenceClassification | TeacherGraph,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    label_names: Sequence[str],
    precisions: Sequence[str],
    max_length: int | None,
    rows: ExportRows,
    trial: Trial,
    about: Mapping[str, str],
) -> dict[str, Any]:
    """Write an empty folder: what can be refused soonest comes first, the record of all files last."""
    head = traced.head if isinstance(traced, TeacherGraph) else SEQUENCE
    longest = input_limits(model.config.to_dict()).max_length
    max_length = min(max_length or tokenizer.model_max_length, longest)
    weights = _write_weights(model, label_names, folder)
    inputs = _write_inputs(model, tokenizer, max_length, folder, rows.texts, head)
    with tempfile.TemporaryDirectory() as scratch:
        converted = export_onnx(traced, Path(scratch) / "converted.onnx", head=head)
        fusions, files = _write_graphs(converted, precisions, folder, rows.calibration, trial.timer)
    _check_files(files, folder, model, traced, rows)
    recommend(files, folder, trial)
    record = {
        "task": head.task,
        "architecture": traced.architecture.to_dict(),
        "weights": weights,
        "label_names": list(label_names),
        "max_length": max_length,
        "longest_input": longest,
        **inputs,
        "opset": OPSET,
        "fusions": {decided_by: fusion.to_dict() for decided_by, fusion in fusions.items()},
        "machine": machine_key(),
        "versions": versions(),
        "precisions": files,
    }
    (folder / "README.md").write_text(model_card(record, about), encoding="utf-8")
    record["files"] = hashed_files(folder)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _write_inputs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    folder: Path,
    texts: Sequence[Text],
    head: Head,
) -> dict[str, Any]:
    """Write the tokenizer, checked: how it makes rows, and on how many texts it was checked."""
    settings = tokenizer_settings(tokenizer, model.config.pad_token_id)
    write_tokenizer(tokenizer, settings, max_length, folder)
    checked = check_tokenizer(tokenizer, folder, settings, max_length, texts, words=head == TOKEN)
    return {"tokenizer": settings.to_dict(), "inputs_checked": checked}


def _check_files(
    files: dict[str, dict[str, Any]],
    out_dir: Path,
    model: PreTrainedModel,
    traced: CompactBertForSequenceClassification | TeacherGraph,
    rows: ExportRows,
) -> None:
    """Hold every file against its network and the model, and note in its entry what was found."""
    reference = reference_of(model, rows.verified)
    for precision, entry in files.items():
        path = out_dir / entry["file"]
        entry["size_mib"] = _size_mib(path)
        made = entry.get("quantization", {})
        kept = made.get("sensitivity", {}).get("kept_nodes", ())
        entry["audit"] = audit(path, traced.architecture, precision=precision, num_kept=len(kept))
        weights = check_weights(path, model, precision=precision)
        entry["weights_checked"] = len(weights.matched)
        entry.update(PRECISIONS[precision].check(path, made))
        if PRECISIONS[precision].tolerance is None:
            entry["max_logit_error_of_wiring"] = check_wiring(
                path, model, weights, reference, precision=precision
            )
        entry.update(compare(path, reference, precision=precision).to_dict())


def _check(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    label_names: Sequence[str],
    problems: list[str],
) -> None:
    if len(label_names) != model.config.num_labels:
        problems.append(
            f"label_names: {len(label_names)} names; the model has {model.config.num_labels} labels"
        )
    if not tokenizer.is_fast:
        problems.append(
            f"tokenizer: {type(tokenizer).__name__} has no fast form, a tokenizer.json, which serving reads; "
            "load it with use_fast=True, or train with a fast tokenizer"
        )
    if problem := too_many_tokens(tokenizer, model.config.vocab_size):
        problems.append(problem)
    if problems:
        raise ExportError.from_problems("export", problems)


def _write_weights(model: PreTrainedModel, label_names: Sequence[str], out_dir: Path) -> dict[str, Any]:
    """Write config.json and model.safetensors; says as which class, how many, why not as stock BERT."""
    obstacles, stored = [], model
    if isinstance(model, CompactBertForSequenceClassification):
        obstacles = stock_obstacles(model.architecture)
        stored = as_stock_bert(model) or model
    stored.config.id2label = dict(enumerate(label_names))
    stored.config.label2id = {name: index for index, name in enumerate(label_names)}
    stored.save_pretrained(out_dir)
    words: Any = stored.get_input_embeddings()
    return {
        "class": type(stored).__name__,
        "why_not_stock": obstacles,
        "num_parameters": sum(weight.numel() for weight in stored.parameters()),
        "num_in_word_embeddings": words.weight.numel(),
    }


def _write_graphs(
    converted: Path,
    precisions: Sequence[str],
    out_dir: Path,
    calibration: Calibration | None,
    timer: Timer | None,
) -> tuple[dict[str, FusionChoice], dict[str, dict[str, Any]]]:
    """Write the ONNX file of every precision: the fusions by what decided them, and one entry a precision."""
    files: dict[str, dict[str, Any]] = {
        word: {"file": precision.file_name} for word, precision in PRECISIONS.items() if word in precisions
    }
    fusions: dict[str, FusionChoice] = {}
    for decided_by in dict.fromkeys(PRECISIONS[word].fusions_of for word in files):
        paths = {
            word: out_dir / entry["file"]
            for word, entry in files.items()
            if PRECISIONS[word].fusions_of == decided_by
        }
        fusion = FusionChoice() if timer is None else choose_fusions(converted, timer, decided_by)
        for name, made in write_precisions(converted, paths, fusion, calibration).items():
            files[name]["quantization"] = made
        fusions[decided_by] = fusion
    return fusions, files


def _size_mib(path: Path) -> float:
    data = path.with_name(f"{path.name}.data")
    return (path.stat().st_size + (data.stat().st_size if data.exists() else 0)) / 2**20
