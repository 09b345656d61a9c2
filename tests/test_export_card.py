"""The model card tells what was measured and what the weights are; its instructions work as they stand."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_folders import TEXTS, compact, stock, tokenizer, write_folder

from bertcompress.export.card import FOLDER, model_card
from bertcompress.export.folder import export_folder
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.weight_only import WeightOnly
from bertcompress.model import CompactBertForSequenceClassification
from bertcompress.space import Pooling

BERT_CHAIN = ("mha4", "ffn48", "mha4", "ffn48")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(compact(), tmp_path_factory.mktemp("compact"))


@pytest.fixture(scope="module")
def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "export.json").read_text(encoding="utf-8"))


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def expressible() -> CompactBertForSequenceClassification:
    return compact(BERT_CHAIN, pooling="cls", embedding_size=32)


def python_of(card: str, importing: str, folder: Path) -> str:
    """The one program of a card that imports a name, for a folder that exists."""
    programs = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    (program,) = [program for program in programs if importing in program]
    return program.replace(FOLDER, str(folder))


def logits_by(program: str, forbidden: str = "") -> np.ndarray:
    """Logits of "a good film" by a program that makes `model` and `tokenizer`, in a process of its own."""
    lines = [
        f"import sys; sys.modules.update(dict.fromkeys({forbidden.split()!r}))",
        program,
        'rows = tokenizer("a good film", return_tensors="pt")',
        "print('logits', *model(**rows).logits[0].tolist())",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (words,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("logits")]
    return np.array([float(word) for word in words])


def logits_of(model: torch.nn.Module) -> np.ndarray:
    with torch.no_grad():
        return model(**tokenizer()("a good film", return_tensors="pt")).logits[0].numpy()


def test_the_card_tells_what_was_measured(folder: Path, record: dict[str, Any]) -> None:
    card = card_of(folder)
    assert card.startswith("---\nlibrary_name: transformers\n")
    for name, entry in record["precisions"].items():
        (row,) = [line for line in card.splitlines() if line.startswith(f"| {name} ")]
        assert entry["file"] in row
        assert f"{entry['agreement']:.1%} of {entry['num_rows']} rows" in row
        assert row.count("not measured") == 2
    measured = copy.deepcopy(record)
    measured["precisions"]["int8"] |= {"p50_ms": 1.234, "recommended": False, "reason": "too slow"}
    card = model_card(measured, {"name": "reviews", "seed": "7"})
    assert "# reviews\n" in card
    assert "- seed: 7" in card
    assert "| 1.23 |" in card
    assert "| no: too slow |" in card


def test_the_card_tells_what_the_model_is(folder: Path, record: dict[str, Any]) -> None:
    card, model = card_of(folder), compact()
    assert "- operators: mha2 -> conv3 -> ffn48 -> mha4 -> conv5" in card
    assert f"- parameters: {model.architecture.num_parameters:,}, of which {18 * 16} embed words" in card
    assert all(f"{name} {version}" in card for name, version in record["versions"].items())
    assert {"bertcompress", "onnxruntime"} <= record["versions"].keys()
    assert "its embeddings are factorized, 16 for 32" in card
    assert "loads without bertcompress" not in card


@pytest.mark.parametrize(
    "precisions", [("fp32",), ("int8",), ("int8_static",), ("fp32", "int8", "int8_static"), ("int4_weights",)]
)
def test_what_holds_for_a_kind_of_int8_alone_is_said_where_it_is(
    record: dict[str, Any], precisions: tuple[str, ...]
) -> None:
    entries = record["precisions"] | {"int8_static": record["precisions"]["int8"]}
    entries["int4_weights"] = entries["int8"] | {"quantization": WeightOnly(4).to_dict()}
    kept = {name: entries[name] | {"file": PRECISIONS[name].file_name} for name in precisions}
    card = model_card({**record, "precisions": kept}, {})
    for words, name in {
        "- int8 takes its scales over the whole batch: a row's logits depend": "int8",
        "- int8_static has constant scales: a row's logits do not depend": "int8_static",
        "\nint8: weights of": "int8",
        "scales of activations as they come": "int8",
        "\nint8_static: weights of": "int8_static",
        "scales of activations read off rows of data": "int8_static",
    }.items():
        assert (words in card) is (name in precisions)
    assert f'file_name="{PRECISIONS[precisions[0]].file_name}"' in card


def test_the_instructions_for_transformers_work(folder: Path) -> None:
    found = logits_by(python_of(card_of(folder), "AutoModelFor", folder))
    np.testing.assert_allclose(found, logits_of(compact()), rtol=0, atol=1e-5)


def test_the_instructions_without_torch_work(folder: Path) -> None:
    lines = ["import sys; sys.modules.update(torch=None, transformers=None)"]
    lines += [python_of(card_of(folder), "OnnxClassifier", folder)]
    lines += [f"assert len(classifier.classify({list(TEXTS)!r})) == {len(TEXTS)}"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


def test_an_expressible_winner_loads_without_this_package(tmp_path: Path) -> None:
    model = expressible()
    record = export_folder(model, tokenizer(), ("no", "yes"), tmp_path, precisions=("fp32",))
    assert record["weights"]["class"] == "BertForSequenceClassification"
    assert record["weights"]["num_parameters"] == model.architecture.num_parameters
    card = card_of(tmp_path)
    assert "`BertForSequenceClassification`, which transformers loads without bertcompress" in card
    found = logits_by(python_of(card, "AutoModelFor", tmp_path), forbidden="bertcompress")
    np.testing.assert_allclose(found, logits_of(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "pooling", "embedding_size"),
    [(("mha2", "ffn48"), "cls", 32), (BERT_CHAIN, "mean", 32), (BERT_CHAIN, "cls", 16)],
)
def test_another_winner_needs_it_and_the_card_says_why(
    names: tuple[str, ...], pooling: Pooling, embedding_size: int, tmp_path: Path
) -> None:
    model = compact(names, pooling=pooling, embedding_size=embedding_size)
    record = export_folder(model, tokenizer(), ("no", "yes"), tmp_path, precisions=("fp32",))
    assert record["weights"]["class"] == "CompactBertForSequenceClassification"
    (reason,) = record["weights"]["why_not_stock"]
    assert f"`CompactBertForSequenceClassification`; no stock BERT: {reason}" in card_of(tmp_path)


def test_a_teacher_stays_what_it_is(tmp_path: Path) -> None:
    record = export_folder(stock(), tokenizer(), ("no", "yes"), tmp_path, precisions=("fp32",))
    assert record["weights"]["class"] == "BertForSequenceClassification"
    assert "import bertcompress " not in card_of(tmp_path)
