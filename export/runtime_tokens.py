"""Serving of heads that answer within a text: names and other spans, and answers to questions.

Like runtime, with numpy, tokenizers and onnxruntime alone. A text beyond `max_length` tokens is read in
windows that overlap; what both hold is taken from where it has more text around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding

from bertcompress.errors import DataError
from bertcompress.export.encoding import open_tokenizer, tokens_of
from bertcompress.export.heads import SPAN, TOKEN
from bertcompress.export.runtime import OnnxModel, is_unicode, softmax

OUTSIDE = "O"
# Of a window's length, what the next one repeats.
OVERLAP = 0.25
BATCH_SIZE = 32


@dataclass(frozen=True)
class Window:
    """A piece of a row as the network reads it: which row, its tokens, and their logits (T, C)."""

    row: int
    encoding: Encoding
    logits: np.ndarray


class _WindowedModel(OnnxModel):
    """Reads rows of any length."""

    def __init__(self, folder: Path | str, precision: str = "fp32", **options: Any) -> None:
        super().__init__(folder, precision, **options)
        self._overlap = int(OVERLAP * self.max_length)
        self._tokenizer = open_tokenizer(
            Path(folder) / "tokenizer.json",
            self._settings,
            self.max_length,
            stride=self._overlap,
            strategy=self._truncation,
        )

    @property
    def _truncation(self) -> str:
        """What is cut into windows where a row is too long, in the tokenizer's words."""
        return "longest_first"

    def _windows(self, rows: Sequence[Any], **options: Any) -> Iterator[Window]:
        """Every window of every row; `options` go to the tokenizer."""
        encoded = self._tokenizer.encode_batch(rows, **options)
        pieces = [(row, piece) for row, first in enumerate(encoded) for piece in (first, *first.overflowing)]
        pieces.sort(key=lambda piece: len(piece[1].ids))
        for start in range(0, len(pieces), BATCH_SIZE):
            batch = pieces[start : start + BATCH_SIZE]
            logits = self._encoded_logits([piece for _, piece in batch])  # (B, T, C)
            for (row, piece), found in zip(batch, logits, strict=True):
                yield Window(row, piece, found[tokens_of(len(piece.ids), len(found), self._settings)])


class OnnxTokenClassifier(_WindowedModel):
    """A tagger read from an exported folder. A word's first token decides its label.

    Raises:
        ExportError: the folder lacks the file of this precision, the tokenizer or the configuration, or its
            model is none that classifies tokens.
    """

    head = TOKEN

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[dict[str, Any]]]:
        """Label and probability of every word of sentences that are split into words already.

        Raises:
            DataError: a sentence is one text, or a word is empty.
        """
        problems = [
            f"row {row}: {words!r}; give a list of words that are not blank"
            for row, words in enumerate(sentences)
            if isinstance(words, str)
            or not all(isinstance(word, str) and word.strip() and is_unicode(word) for word in words)
        ]
        if problems:
            raise DataError.from_problems("sentences", problems)
        found = self._words(sentences, is_pretokenized=True)
        # A word that the tokenizer drops, as one of control characters, has no token to tell its label by.
        nothing = {"label": OUTSIDE, "score": 0.0}
        return [
            [
                {key: words[index][key] for key in nothing} if index in words else dict(nothing)
                for index in range(len(sentence))
            ]
            for sentence, words in zip(sentences, found, strict=True)
        ]

    def entities(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """What every text names: label, mean probability, first and last character, and the words.

        Labels that begin with B- and I- are joined as such; others are where they repeat. O is nothing.

        Raises:
            DataError: a row is empty or no text.
        """
        problems = [
            f"row {row}: {text!r} is blank or no text"
            for row, text in enumerate(texts)
            if not isinstance(text, str) or not text.strip() or not is_unicode(text)
        ]
        if isinstance(texts, str) or problems:
            raise DataError.from_problems("texts", problems or ["one text; put it in a list"])
        return [
            [
                {
                    "label": kind,
                    "score": float(np.mean([word["score"] for word in words])),
                    "start": (start := words[0]["start"]),
                    "end": (end := words[-1]["end"]),
                    "text": text[start:end],
                }
                for kind, words in join_labels(list(found.values()))
            ]
            for text, found in zip(texts, self._words(texts), strict=True)
        ]

    def _words(self, rows: Sequence[Any], **options: Any) -> list[dict[int, dict[str, Any]]]:
        """Label, probability, first and last character of every row's words, by their number in the row."""
        found: list[dict[int, dict[str, Any]]] = [{} for _ in rows]
        around: dict[tuple[int, int], int] = {}
        for window in self._windows(rows, **options):
            numbers = window.encoding.word_ids
            length = len(numbers)
            for place, number in enumerate(numbers):
                if number is None or (place > 0 and numbers[place - 1] == number):
                    continue
                context = min(place, length - place)
                if around.get((window.row, number), -1) >= context:
                    continue
                around[window.row, number] = context
                shares = softmax(window.logits[place])
                best = int(shares.argmax())
                start, end = window.encoding.word_to_chars(number) or (0, 0)
                found[window.row][number] = {
                    "label": self.label_names[best], "score": float(shares[best]), "start": start, "end": end
                }  # fmt: skip
        return [dict(sorted(words.items())) for words in found]


def join_labels(words: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Runs of words with one kind of label, as (kind, words); B- begins a new one, and O belongs to none."""
    kind, run = OUTSIDE, list[dict[str, Any]]()
    for word in words:
        label = word["label"]
        now = label[2:] if label[:2] in ("B-", "I-") else label
        if run and (now != kind or label.startswith("B-")):
            yield kind, run
            run = []
        kind = now
        if kind != OUTSIDE:
            run.append(word)
    if run:
        yield kind, run


class OnnxQuestionAnswerer(_WindowedModel):
    """A reader that answers questions with a span of a text, read from an exported folder.

    Raises:
        ExportError: the folder lacks the file of this precision, the tokenizer or the configuration, or its
            model is none that answers questions.
    """

    head = SPAN

    def __init__(self, folder: Path | str, precision: str = "fp32", **options: Any) -> None:
        super().__init__(folder, precision, **options)
        self._whole = open_tokenizer(Path(folder) / "tokenizer.json", self._settings, None)

    @property
    def _text_first(self) -> bool:
        """Whether the text precedes the question: so models are trained whose rows are padded left."""
        return self._settings.padding_side == "left"

    @property
    def _truncation(self) -> str:
        return "only_first" if self._text_first else "only_second"

    def answer(
        self, pairs: Sequence[tuple[str, str]], *, max_answer_tokens: int = 30, may_be_empty: bool = False
    ) -> list[dict[str, Any]]:
        """The span of the text that answers each (question, text): text, score, first and last character.

        The score is the product of the probabilities of its first and last token. With `may_be_empty` an
        answer is "" where [CLS] has more (SQuAD 2.0: Rajpurkar et al. 2018, arXiv 1806.03822).

        Raises:
            DataError: a row is no pair, or blank, or its question leaves no room for the text.
        """
        self._check_pairs(pairs)
        windows: list[list[Window]] = [[] for _ in pairs]
        ordered = [(text, question) if self._text_first else (question, text) for question, text in pairs]
        for window in self._windows(ordered):
            windows[window.row].append(window)
        part = 0 if self._text_first else 1
        return [
            _best_span(text, found, max_answer_tokens, may_be_empty, part)
            for (_, text), found in zip(pairs, windows, strict=True)
        ]

    def _check_pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        problems = []
        for row, pair in enumerate(pairs):
            if not isinstance(pair, tuple) or [type(part) for part in pair] != [str, str]:
                problems.append(f"row {row}: {pair!r} is no pair of a question and a text")
            elif not all(map(is_unicode, pair)):
                problems.append(f"row {row}: {pair!r} holds half of a surrogate pair; mend its encoding")
            elif not all(part.strip() for part in pair):
                problems.append(f"row {row}: a blank question or text; leave it out")
            else:
                self._check_room(row, pair[0], problems)
        if problems:
            raise DataError.from_problems("questions", problems)

    def _check_room(self, row: int, question: str, problems: list[str]) -> None:
        # With the special tokens of both, and a window that goes on behind its overlap.
        length = len(self._whole.encode(question).ids)
        if length + self._overlap + 2 >= self.max_length:
            most = self.max_length - self._overlap - 3
            problems.append(
                f"row {row}: the question has {length} tokens; at most {most} leave room for a text"
            )


def _best_span(
    text: str, windows: Sequence[Window], longest: int, may_be_empty: bool, part: int
) -> dict[str, Any]:
    """The best span over a row's windows; probabilities are over the tokens of all of them.

    The text is number `part` of the pair.
    """
    logits = np.concatenate([window.logits for window in windows])  # (all T, 2)
    # Tokens of the text, and [CLS], which stands for no answer.
    allowed = np.concatenate(
        [
            [place == 0 or number == part for place, number in enumerate(w.encoding.sequence_ids)]
            for w in windows
        ]
    )
    shares = softmax(np.where(allowed[:, None], logits, -np.inf).T)  # (2, all T)
    best: dict[str, Any] = {"text": "", "score": 0.0, "start": 0, "end": 0}
    begin, empty = 0, np.inf
    for window in windows:
        length = len(window.logits)
        starts, ends = shares[:, begin : begin + length]
        begin += length
        empty = min(empty, float(starts[0] * ends[0]))
        inside = np.array([number == part for number in window.encoding.sequence_ids], dtype=float)
        too_long = np.triu(np.ones((length, length)), longest)
        spans = np.triu(np.outer(starts * inside, ends * inside)) - too_long
        first, last = np.unravel_index(int(spans.argmax()), spans.shape)
        if spans[first, last] > best["score"]:
            start, end = window.encoding.offsets[first][0], window.encoding.offsets[last][1]
            best = {"text": text[start:end], "score": float(spans[first, last]), "start": start, "end": end}
    if may_be_empty and empty > best["score"]:
        return {"text": "", "score": float(empty), "start": 0, "end": 0}
    return best
