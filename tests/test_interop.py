"""An exported folder loads where other packages are: optimum on an older transformers, or three alone.

`.ci/interop` makes the two environments and names the folder that holds them in BERTCOMPRESS_INTEROP."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exported_folders import TEXTS, compact, stock, stock_of_head, tokenizer, write_folder

from bertcompress.export.card import FOLDER
from bertcompress.export.heads import TOKEN
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.runtime import OnnxClassifier, OnnxModel
from bertcompress.export.runtime_tokens import OnnxQuestionAnswerer, OnnxTokenClassifier

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = os.environ.get("BERTCOMPRESS_INTEROP")
pytestmark = pytest.mark.skipif(
    ENVIRONMENTS is None, reason="needs two environments of its own; .ci/interop makes them and runs this"
)
# optimum has no say over the batch, and int8 takes its scales over it: a text at a time.
ASK = """
import json, sys
texts = [tuple(text) if isinstance(text, list) else text for text in json.loads(sys.argv[1])]
logits = []
for text in texts:
    rows = tokenizer(*text if isinstance(text, tuple) else (text,), truncation=True, return_tensors="pt")
    logits.append(model(**rows).logits[0].tolist())
print("logits", json.dumps(logits))
"""
PAIR = ("a good film", "the film, bad")
ASK_ONE = f"""
import json
output = model(**tokenizer(*{PAIR}, return_tensors="pt"))
outputs = [output[name][0].tolist() for name in names]
print("outputs", json.dumps(outputs if len(outputs) > 1 else outputs[0]))
"""
WITHOUT_BERTCOMPRESS = "import sys; sys.modules['bertcompress'] = None\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compact and a stock model, exported in every precision."""
    root = tmp_path_factory.mktemp("exported")
    write_folder(compact(), root / "compact", precisions=tuple(PRECISIONS))
    write_folder(stock(), root / "stock", precisions=tuple(PRECISIONS))
    return root


def run(environment: str, *words: str) -> str:
    """What a Python of one of the environments prints."""
    command = [str(Path(str(ENVIRONMENTS)).resolve() / environment / "bin" / "python"), *words]
    # -P and no PYTHONPATH: the environment's own packages, not this checkout.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def logits_in_optimum(program: str) -> np.ndarray:
    printed = run("optimum", "-P", "-c", program + ASK, json.dumps(TEXTS))
    (line,) = [line for line in printed.splitlines() if line.startswith("logits ")]
    return np.array(json.loads(line.removeprefix("logits ")))


def programs_of(folder: Path) -> list[str]:
    """The programs of a folder's card, for the folder where it lies."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return [
        program.replace(FOLDER, str(folder))
        for program in re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    ]


def expected_logits(folder: Path, precision: str) -> np.ndarray:
    classifier = OnnxClassifier(folder, precision)
    rows = [
        tokenizer()(*([text] if isinstance(text, str) else text), truncation=True, max_length=12)
        for text in TEXTS
    ]
    return np.concatenate(
        [
            classifier.logits(np.array([row["input_ids"]]), None, np.array([row["token_type_ids"]]))
            for row in rows
        ]
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["compact", "stock"])
def test_optimum_loads_a_folder_as_its_card_says(folders: Path, name: str, precision: str) -> None:
    folder = folders / name
    (program,) = [program for program in programs_of(folder) if "optimum" in program]
    program = program.replace(PRECISIONS["fp32"].file_name, PRECISIONS[precision].file_name)
    found = logits_in_optimum(WITHOUT_BERTCOMPRESS + program)
    np.testing.assert_allclose(found, expected_logits(folder, precision), rtol=0, atol=1e-4)


@pytest.mark.parametrize("served_by", [OnnxTokenClassifier, OnnxQuestionAnswerer])
def test_optimum_loads_heads_of_tokens(tmp_path: Path, served_by: type[OnnxModel]) -> None:
    head = served_by.head
    write_folder(stock_of_head(head), tmp_path, precisions=("fp32", "int8"))
    (program,) = [program for program in programs_of(tmp_path) if "ORTModel" in program]
    printed = run(
        "optimum", "-P", "-c", f"{WITHOUT_BERTCOMPRESS}{program}\nnames = {head.outputs}\n{ASK_ONE}"
    )
    (line,) = [line for line in printed.splitlines() if line.startswith("outputs ")]
    rows = tokenizer()(*PAIR, return_tensors="np")
    expected = served_by(tmp_path).logits(rows["input_ids"], None, rows["token_type_ids"])[0]
    found = np.array(json.loads(line.removeprefix("outputs ")))
    np.testing.assert_allclose(found if head == TOKEN else found.T, expected, rtol=0, atol=1e-4)


def test_optimum_needs_no_configuration_beside_this_package(folders: Path) -> None:
    (program,) = [program for program in programs_of(folders / "compact") if "optimum" in program]
    short, count = re.subn(r"\n *config=.*", "", program)
    assert count == 1
    found = logits_in_optimum("import bertcompress\n" + short)
    np.testing.assert_allclose(found, expected_logits(folders / "compact", "fp32"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["compact", "stock"])
def test_the_weights_load_in_an_older_transformers(folders: Path, name: str) -> None:
    (program,) = [program for program in programs_of(folders / name) if "AutoModelFor" in program]
    found = logits_in_optimum(program)
    np.testing.assert_allclose(found, expected_logits(folders / name, "fp32"), rtol=0, atol=1e-4)


def test_three_packages_serve(folders: Path) -> None:
    folder, texts = folders / "compact", [text for text in TEXTS if isinstance(text, str)]
    modules = {"torch", "transformers", "onnx", "scipy"}
    probe = f"import importlib.util as u; print([m for m in {sorted(modules)} if u.find_spec(m)])"
    assert run("serving", "-c", probe).strip() == "[]"
    printed = run("serving", str(ROOT / "examples" / "serve_without_torch.py"), str(folder), *texts)
    expected = [f"{row['label']} {row['score']:.3f}" for row in OnnxClassifier(folder).classify(texts)]
    assert [line.split("  ")[0] for line in printed.splitlines()] == expected


@pytest.mark.parametrize("precision", PRECISIONS)
def test_this_package_serves_with_three_others(folders: Path, precision: str) -> None:
    (program,) = [program for program in programs_of(folders / "compact") if "OnnxClassifier" in program]
    program = program.replace('precision="fp32"', f'precision="{precision}"')
    program += f"import json; print(json.dumps(classifier.classify({list(TEXTS)!r}, batch_size=1)))"
    expected = OnnxClassifier(folders / "compact", precision).classify(TEXTS, batch_size=1)
    found = json.loads(run("serving", "-P", "-c", program))
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=1e-5)
