"""Classify texts with an exported folder and three packages: numpy, tokenizers and onnxruntime.

    python examples/serve_without_torch.py runs/reviews-mini/export/winner "to remember" "a waste of time"

Copy what you need: nothing here imports bertcompress, whose OnnxClassifier does the same with its inputs
checked.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


def open_folder(
    folder: Path, file: str = "model.onnx"
) -> tuple[Tokenizer, ort.InferenceSession, dict[str, Any]]:
    """The tokenizer, the session and what the export says of an exported folder."""
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    for name in (file, "tokenizer.json"):
        # Another export's file, or one that was changed since, would answer without a word.
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != record["files"].get(name):
            raise SystemExit(
                f"{folder / name}: is not the file that the export wrote; export the model again"
            )
    # It cuts long texts and pads short ones as export.json says under "tokenizer".
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = record["tokenizer"]["splits_special_tokens"]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # The file holds the fusions that were fastest when it was made; a higher level would add others.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])
    return tokenizer, session, record


def main() -> None:
    """Print the label and its probability for every text on the command line."""
    if len(sys.argv) < 3:
        raise SystemExit("usage: serve_without_torch.py FOLDER TEXT...")
    tokenizer, session, record = open_folder(Path(sys.argv[1]))
    texts = sys.argv[2:]
    rows = tokenizer.encode_batch(texts)
    arrays = {
        "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
        "token_type_ids": np.array([row.type_ids for row in rows], dtype=np.int64),
    }
    if not record["tokenizer"]["uses_segments"]:
        arrays["token_type_ids"][:] = 0
    logits = session.run(None, {given.name: arrays[given.name] for given in session.get_inputs()})[0]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    for text, row in zip(texts, shares, strict=True):
        print(f"{record['label_names'][int(row.argmax())]} {row.max():.3f}  {text}")


if __name__ == "__main__":
    main()
