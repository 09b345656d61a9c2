"""Every precision that is listed is declared whole, and the registry is cheap to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bertcompress.errors import ExportError
from bertcompress.export.precisions import PRECISIONS, REFUSED, find_precision
from bertcompress.recipe.schema import Export
from bertcompress.space.precisions import NEED_ROWS, PRECISION_WORDS

FOLDER = Path(__file__).parent.parent / "export" / "precisions"


def test_recipes_and_exports_know_the_same_precisions() -> None:
    assert tuple(PRECISIONS) == PRECISION_WORDS
    assert set(NEED_ROWS) <= set(PRECISIONS)
    assert Export(precisions=tuple(PRECISIONS)).precisions == PRECISION_WORDS


def test_a_precision_has_a_file_of_its_word_and_a_file_name_of_its_own() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "precision"}
    assert modules == set(PRECISIONS)
    file_names = [precision.file_name for precision in PRECISIONS.values()]
    assert len(set(file_names)) == len(file_names)
    assert all(word == "fp32" or word in PRECISIONS[word].file_name for word in PRECISIONS)


def test_fusions_are_decided_by_a_precision_that_decides_for_itself() -> None:
    for precision in PRECISIONS.values():
        assert PRECISIONS[precision.fusions_of].fusions_of == precision.fusions_of


@pytest.mark.parametrize(("word", "advice"), [("int7", "did you mean int8?"), *REFUSED.items()])
def test_a_word_that_is_no_precision_is_refused_with_advice(word: str, advice: str) -> None:
    with pytest.raises(ExportError) as refused:
        find_precision(word)
    assert advice in str(refused.value)


def test_the_registry_is_read_without_onnx() -> None:
    program = (
        "import sys\n"
        "from bertcompress.export.precisions import PRECISIONS\n"
        "heavy = {'onnx', 'onnxruntime', 'numpy', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_narrower_precision_takes_fewer_bytes_a_dense_layer() -> None:
    layer = {word: precision.bytes.dense_layer(384, 384) for word, precision in PRECISIONS.items()}
    assert layer["int4_weights"] < layer["int8"] < layer["int8_weights"] < layer["fp16"] < layer["fp32"]
    assert layer["int8_static"] == layer["int8"]
