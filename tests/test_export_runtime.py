"""An exported folder answers without torch: texts and arrays in their order, bad ones named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import word_tokenizer
from transformers import AutoModelForSequenceClassification

from bertcompress.errors import DataError, ExportError
from bertcompress.export.runtime import OnnxClassifier

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_classify_keeps_the_order_of_its_rows(exported_folder: Path, precision: str) -> None:
    classifier = OnnxClassifier(exported_folder, precision)
    texts = ["good film", "a very very very bad film", "the", ("good", "bad film")]
    together = classifier.classify(texts, batch_size=2)
    alone = [classifier.classify([text])[0] for text in texts]
    assert [row["label"] for row in together] == [row["label"] for row in alone]
    tolerance = 1e-5 if precision == "fp32" else 0.1  # int8 takes its scales over the whole batch
    scores = [[row["score"] for row in rows] for rows in (together, alone)]
    np.testing.assert_allclose(*scores, atol=tolerance)
    assert all(0.5 <= row["score"] <= 1 for row in together)
    assert classifier.classify([]) == []


def test_classify_equals_pytorch(exported_folder: Path) -> None:
    loaded = AutoModelForSequenceClassification.from_pretrained(exported_folder).eval()
    texts = [("good film", "a bad film"), ("the very", "film")]
    encoded = word_tokenizer()(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        shares = loaded(**encoded).logits.softmax(-1)
    for row, expected in zip(OnnxClassifier(exported_folder).classify(texts), shares, strict=True):
        assert row["score"] == pytest.approx(expected.max().item(), abs=1e-5)
        assert row["label"] == ("negative", "positive")[int(expected.argmax())]


def test_a_long_text_is_cut_at_the_stored_length(exported_folder: Path) -> None:
    classifier = OnnxClassifier(exported_folder)
    assert classifier.max_length == 12
    long, cut = classifier.classify(["good " * 500, "good " * 10])
    assert long == pytest.approx(cut)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "put it in a list"),
        (["good", " ", ("a", "")], "2 problems"),
        (["good", 3], "row 1: 3 is neither"),
        ([("a", "b", "c")], "neither a text nor a pair"),
    ],
)
def test_bad_texts_are_named(exported_folder: Path, texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OnnxClassifier(exported_folder).classify(texts)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input_ids": np.zeros((1, 0), dtype=np.int64)}, "shape"),
        ({"input_ids": np.zeros((1, 13), dtype=np.int64)}, "a length of 1 to 12"),
        ({"input_ids": np.array([[-1, 2]])}, "use 0 to 96"),
        ({"input_ids": np.array([[97]])}, "use 0 to 96"),
        ({"input_ids": np.array([[1.5]])}, "use integers"),
        ({"input_ids": np.array([[1]]), "attention_mask": np.array([[0]])}, r"rows \[0\] have no token"),
        ({"input_ids": np.array([[1]]), "token_type_ids": np.array([[1, 0]])}, "input_ids has"),
    ],
)
def test_bad_arrays_are_named(exported_folder: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OnnxClassifier(exported_folder).logits(**arrays)


def test_logits_take_any_integer_type(exported_folder: Path) -> None:
    classifier = OnnxClassifier(exported_folder)
    ids = np.array([[2, 4, 6, 3]])
    np.testing.assert_array_equal(classifier.logits(ids.astype(np.int32)), classifier.logits(ids))


def test_a_bad_folder_is_named(exported_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"export\.json: missing; give a folder that an export wrote"):
        OnnxClassifier(tmp_path)
    with pytest.raises(ExportError, match="was not exported as fp16; it holds fp32, int8"):
        OnnxClassifier(exported_folder, "fp16")
    with pytest.raises(ExportError, match="use fp32, int8"):
        OnnxClassifier(exported_folder, "fp64")
    with pytest.raises(ExportError, match="this model takes 3 to 40 tokens"):
        OnnxClassifier(exported_folder, max_length=41)


def test_serving_loads_no_torch(exported_folder: Path) -> None:
    program = (
        "import sys; from bertcompress.export.runtime import OnnxClassifier; "
        "print(OnnxClassifier(sys.argv[1]).classify(['good film'])[0]['label']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(exported_folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() in {"negative", "positive"}


def test_the_example_serves_with_three_packages(exported_folder: Path) -> None:
    # The interpreter refuses everything that a server without torch would not have.
    program = (
        "import runpy, sys\n"
        "for name in ('torch', 'transformers', 'bertcompress'): sys.modules[name] = None\n"
        "sys.argv = ['serve_without_torch.py', sys.argv[1], 'good film', 'a very bad film']\n"
        "runpy.run_path('examples/serve_without_torch.py', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", program, str(exported_folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    expected = OnnxClassifier(exported_folder).classify(["good film", "a very bad film"])
    lines = [f"{row['label']} {row['score']:.3f}" for row in expected]
    assert [line.split("  ")[0] for line in answer.stdout.splitlines()] == lines
