"""The browser page shows the class and probability that OnnxClassifier gives for what is typed into it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exported_folders import MAX_LENGTH, TEXTS, byte_tokenizer, compact, roberta, write_folder

from bertcompress.export.runtime import OnnxClassifier

PAGE = Path(__file__).parent.parent / "examples" / "browser"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [
    *([] if shutil.which("node") else ["node"]),
    *([] if CHROMIUM else ["chromium"]),
    *([] if (PAGE / "node_modules").is_dir() else ["npm packages (npm ci --prefix examples/browser)"]),
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and two exported folders, side by side as a server would have them."""
    root = tmp_path_factory.mktemp("site")
    (root / "page").symlink_to(PAGE)
    write_folder(compact(), root / "compact")
    write_folder(roberta(), root / "roberta", byte_tokenizer())
    return root


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where `site` is served."""
    words = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(site)]
    command = [sys.executable, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def use_page(url: str, folder: Path | None, texts: list[list[str]]) -> dict[str, Any]:
    command = ["node", str(PAGE / "drive.mjs"), str(CHROMIUM), url, str(folder or ""), json.dumps(texts)]
    used = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert used.returncode == 0, used.stderr
    return json.loads(used.stdout)


@pytest.mark.parametrize(("name", "picked"), [("compact", False), ("roberta", True)])
def test_what_is_typed_is_classified_as_in_python(site: Path, address: str, name: str, picked: bool) -> None:
    folder = site / name
    url = f"{address}/page/" if picked else f"{address}/page/?model=/{name}"
    # Bytes are more tokens than words are, and a pair that is too long is refused.
    kept = TEXTS if name == "compact" else (*TEXTS[:-1], ("a", "bad"))
    texts = [[text] if isinstance(text, str) else list(text) for text in kept]
    shown = use_page(url, folder if picked else None, texts)["answers"]
    assert list(shown) == ["fp32", "int8"]
    # Four digits are shown. An int8 activation between two levels may fall to either side.
    for precision, tolerance in (("fp32", 1e-4), ("int8", 5e-3)):
        expected = OnnxClassifier(folder, precision).classify(kept, batch_size=1)
        assert len({row["label"] for row in expected}) == 2, "texts of one class would show little"
        assert [row["label"] for row in shown[precision]] == [row["label"] for row in expected]
        scores = [row["score"] for row in expected]
        assert [row["score"] for row in shown[precision]] == pytest.approx(scores, abs=tolerance)


def test_what_cannot_be_classified_is_said(address: str) -> None:
    texts = [[" "], ["a good film " * 3, "the bad film"], ["a film"]]
    empty, long, fine = use_page(f"{address}/page/?model=/compact", None, texts)["answers"]["fp32"]
    assert empty["error"].startswith("empty text")
    assert long["error"] == (
        f"15 tokens in the pair; this model takes {MAX_LENGTH}: shorten one of the texts"
    )
    assert fine["label"] in ("negative", "positive")


def test_a_folder_that_is_none_is_said(address: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert use_page(f"{address}/page/", tmp_path, []) == {
        "status": "export.json: missing; pick a folder that an export wrote",
        "answers": {},
    }
    status = use_page(f"{address}/page/?model=/nowhere", None, [])["status"]
    assert "nowhere/export.json: 404" in status
