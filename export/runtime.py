"""Serving an exported folder with numpy, tokenizers and onnxruntime alone, inputs checked before they run.

ONNX Runtime itself wraps a negative id round, fails without a clue on a sequence that is too long, and
computes something for a row without tokens; here each is a clear error, or a truncation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from tokenizers import Encoding

from bertcompress.errors import DataError, ExportError
from bertcompress.export.encoding import TokenizerSettings, open_tokenizer, padded
from bertcompress.export.heads import SEQUENCE, Head, head_of_session
from bertcompress.export.precisions import find_precision
from bertcompress.export.record import check_files, read_record
from bertcompress.measure import run, session

Text: TypeAlias = str | tuple[str, str]


class OnnxModel:
    """What serving has in common for all heads: a folder's files, its labels, and inputs that are checked."""

    head: ClassVar[Head]

    def __init__(
        self,
        folder: Path | str,
        precision: str = "fp32",
        *,
        num_threads: int = 1,
        provider: str = "cpu",
        max_length: int | None = None,
    ) -> None:
        folder = Path(folder)
        record = _checked_record(folder, precision)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.label_names = _label_names(folder, config)
        self.problem_type: str | None = config.get("problem_type")
        self.vocab_size = int(config["vocab_size"])
        self.type_vocab_size = int(config.get("type_vocab_size", 2))
        self.max_length = _max_length(record, max_length)
        self._settings = TokenizerSettings.from_dict(record["tokenizer"])
        self._tokenizer = open_tokenizer(folder / "tokenizer.json", self._settings, self.max_length)
        self._session = session(folder / find_precision(precision).file_name, num_threads, provider)
        found = head_of_session(self._session)
        if found != self.head:
            held = "no known head" if found is None else f"a {found.noun}"
            raise ExportError(f"{folder}: holds {held}; {type(self).__name__} serves a {self.head.noun}")

    @classmethod
    def from_pretrained(cls, folder: Path | str, precision: str = "fp32", **options: Any) -> Self:
        """Open an exported folder: the constructor under the name that transformers has for it."""
        return cls(folder, precision, **options)

    def logits(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
    ) -> np.ndarray:
        """Logits of token ids (B, T), of any integer type; no mask means no padding. Shapes are in `heads`.

        Raises:
            DataError: a shape, an id or a mask that the graph would fail on or silently misread.
        """
        arrays = {
            "input_ids": np.asarray(input_ids),
            "attention_mask": np.ones_like(input_ids)
            if attention_mask is None
            else np.asarray(attention_mask),
            "token_type_ids": np.zeros_like(input_ids)
            if token_type_ids is None
            else np.asarray(token_type_ids),
        }
        self._check_arrays(arrays)
        return run(self._session, {name: array.astype(np.int64) for name, array in arrays.items()})

    def _encoded_logits(self, rows: Sequence[Encoding]) -> np.ndarray:
        """Logits of tokenised rows, padded to one length."""
        return self.logits(**padded(rows, self._settings))

    def _check_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        shape = arrays["input_ids"].shape
        if len(shape) != 2 or 0 in shape or shape[1] > self.max_length:
            allowed = f"(batch, length) with a length of 1 to {self.max_length}"
            raise DataError(f"input_ids: shape {shape}; use {allowed}")
        limits = {"input_ids": self.vocab_size, "attention_mask": 2, "token_type_ids": self.type_vocab_size}
        problems = []
        for name, array in arrays.items():
            if array.shape != shape:
                problems.append(f"{name}: shape {array.shape}; input_ids has {shape}")
            elif not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
                problems.append(f"{name}: type {array.dtype}; use integers")
            elif array.min() < 0 or array.max() >= limits[name]:
                found = f"{array.min()} to {array.max()}"
                problems.append(f"{name}: values {found}; use 0 to {limits[name] - 1}")
        if not problems and not arrays["attention_mask"].any(axis=1).all():
            rows = np.flatnonzero(~arrays["attention_mask"].any(axis=1)).tolist()
            problems.append(f"attention_mask: rows {rows} have no token; leave them out")
        if problems:
            raise DataError.from_problems("model inputs", problems)


class OnnxClassifier(OnnxModel):
    """A text classifier read from an exported folder; texts beyond `max_length` tokens are truncated.

    Raises:
        ExportError: the folder lacks the file of this precision, the tokenizer or the configuration, or one
            of them is not what the export wrote, or its model is none that classifies texts.
    """

    head = SEQUENCE

    def __call__(self, texts: Text | Sequence[Text], *, batch_size: int = 32) -> list[dict[str, Any]]:
        """Return the best label of each text as a text-classification pipeline of transformers does.

            OnnxClassifier.from_pretrained("out")(["a text"])  # [{"label": "positive", "score": 0.98}]

        A list holds rows, as `classify` takes them; a single text, or a pair as a tuple, is a list of one.
        """
        rows = [texts] if isinstance(texts, str | tuple) else list(texts)
        return self.classify(rows, batch_size=batch_size)

    def classify(self, texts: Sequence[Text], *, batch_size: int = 32) -> list[dict[str, Any]]:
        """The best label of every text, or of every pair of texts, and its probability.

        Of a model with one label, as of one for regression, the score is its logit: the number itself.

        Raises:
            DataError: rows that are empty, or neither a text nor a pair of texts.
        """
        _check_texts(texts)
        # A batch is padded to its longest row: rows of like length together cost the least.
        order = sorted(range(len(texts)), key=lambda row: len("".join(texts[row])))
        results: list[dict[str, Any]] = [{}] * len(texts)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            logits = self._encoded_logits(self._tokenizer.encode_batch([texts[row] for row in rows]))
            for row, row_logits in zip(rows, logits, strict=True):
                results[row] = self._best(row_logits)
        return results

    def _best(self, logits: np.ndarray) -> dict[str, Any]:
        """The label of the highest logit (C,) and its softmax; its sigmoid where a text may have several."""
        best = int(logits.argmax())
        if len(logits) == 1:
            score = float(logits[0])
        elif self.problem_type == "multi_label_classification":
            score = float(1 / (1 + np.exp(-logits[best])))
        else:
            score = float(softmax(logits)[best])
        return {"label": self.label_names[best], "score": score}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Shares along the last axis."""
    shares: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def _checked_record(folder: Path, precision: str) -> dict[str, Any]:
    """The folder's record, once every file that is served is the one that the export wrote."""
    file_name = find_precision(precision).file_name
    record = read_record(folder)
    if precision not in record["precisions"]:
        made = ", ".join(record["precisions"])
        raise ExportError(f"{folder}: was not exported as {precision}; it holds {made}")
    check_files(folder, record, [file_name, "tokenizer.json", "config.json"])
    return record


def _label_names(folder: Path, config: dict[str, Any]) -> list[str]:
    """Labels in the order of the logits."""
    id2label = {int(key): name for key, name in config.get("id2label", {}).items()}
    if sorted(id2label) != list(range(len(id2label))) or not id2label:
        raise ExportError(
            f"{folder / 'config.json'}: id2label is {id2label}; it has to name labels 0, 1, ..."
        )
    return [id2label[index] for index in range(len(id2label))]


def _max_length(record: Mapping[str, Any], wanted: int | None) -> int:
    """The asked-for length, else the one that the export was made for."""
    longest = int(record["longest_input"])
    if wanted is None:
        return int(record["max_length"])
    if not 3 <= wanted <= longest:
        raise ExportError(f"max_length: {wanted}; this model takes 3 to {longest} tokens")
    return wanted


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8, which the tokenizer reads; half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_texts(texts: Sequence[Text]) -> None:
    if isinstance(texts, str):
        raise DataError("classify takes a list of texts, found one text; put it in a list")
    problems = []
    for row, text in enumerate(texts):
        parts: tuple[object, ...] = text if isinstance(text, tuple) and len(text) == 2 else (text,)
        words = [part for part in parts if isinstance(part, str)]
        if len(words) < len(parts):
            problems.append(f"row {row}: {text!r} is neither a text nor a pair of texts")
        elif not all(word.strip() for word in words):
            problems.append(f"row {row}: empty text; leave it out")
        elif not all(map(is_unicode, words)):
            problems.append(f"row {row}: {text!r} holds half of a surrogate pair; mend its encoding")
    if problems:
        raise DataError.from_problems("texts", problems)
