"""Views: altered copies of training texts, on which the teacher is asked anew.

A student that sees only the rows its teacher was trained on learns the labels; on views it learns the
teacher. Words give way to near ones in the teacher's embedding or are left out, texts are cropped and joined,
and pairs get partners of other rows. Augmentation for distillation: Tang et al. 2019 (arXiv 1903.12136), Jiao
et al. 2020 (TinyBERT, arXiv 1909.10351). Targets belong to the view, not to its row: Beyer et al. 2022 (arXiv
2106.05237). All of it works on token ids, so that a view costs microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from transformers import PreTrainedTokenizerBase

from bertcompress.data.tokenized import TokenizedSplit

NO_LABEL = -1
CHUNK = 1024  # rows of the similarity matrix at a time


@dataclass(frozen=True)
class ViewShares:
    """How a view differs from its row.

    `replaced` and `deleted` are shares of words. The others are shares of views, at most 1 together: a
    phrase is one to `longest_phrase` tokens in a row, a crop is at least a third of the text, a joined view
    is a crop of its row and one of another row, and a recombined pair takes its second text from another row.
    """

    replaced: float = 0.15
    deleted: float = 0.05
    phrases: float = 0.7
    cropped: float = 0.08
    joined: float = 0.08
    recombined: float = 0.08
    longest_phrase: int = 8


@dataclass(frozen=True)
class Neighbours:
    """For each token its nearest words: `table` (V, K) int32; `replaceable` (V,) says which rows hold any.

    `continues` (V,) marks pieces that go on with the word before them.
    """

    table: np.ndarray
    replaceable: np.ndarray
    continues: np.ndarray


def find_neighbours(
    embedding: np.ndarray, tokenizer: PreTrainedTokenizerBase, used: Sequence[int], num_neighbours: int = 15
) -> Neighbours:
    """Return the nearest whole words (cosine) of every whole word among the token ids `used`.

    `embedding` is a word embedding (V, D) in the order of the tokenizer's ids. Only words of letters are
    replaced, and only by such: numbers, marks and word pieces stay.
    """
    # An embedding may have more rows than the tokenizer has tokens.
    tokens = [token or "" for token in tokenizer.convert_ids_to_tokens(list(range(len(embedding))))]
    words = np.array([token.isalpha() and len(token) > 1 for token in tokens])
    words[[index for index in tokenizer.all_special_ids if index < len(words)]] = False
    continues = np.array([token.startswith("##") for token in tokens])
    table = np.zeros((len(tokens), num_neighbours), dtype=np.int32)
    replaceable = np.zeros(len(tokens), dtype=bool)
    candidates = np.flatnonzero(words)
    if len(candidates) <= num_neighbours:
        return Neighbours(table, replaceable, continues)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True).clip(min=1e-12)
    wanted = np.array([index for index in used if words[index]], dtype=np.int64)
    for start in range(0, len(wanted), CHUNK):
        rows = wanted[start : start + CHUNK]
        similar = unit[rows] @ unit[candidates].T  # (rows, candidates)
        similar[rows[:, None] == candidates[None, :]] = -np.inf
        nearest = np.argpartition(-similar, num_neighbours - 1, axis=1)[:, :num_neighbours]
        table[rows] = candidates[nearest]
    replaceable[wanted] = True
    return Neighbours(table, replaceable, continues)


class ViewMaker:
    """Make views of a split's rows, one a row a call.

    A row is its special tokens and one text or two between them, as BERT's tokenizers lay them out; a view
    keeps the special tokens and alters the texts.
    """

    def __init__(
        self,
        split: TokenizedSplit,
        neighbours: Neighbours,
        shares: ViewShares,
        special_ids: Sequence[int],
        *,
        max_length: int,
    ) -> None:
        self._split, self._neighbours, self._shares = split, neighbours, shares
        self._special = np.isin(np.arange(len(neighbours.table)), list(special_ids))
        self._max_length = max_length

    def __call__(self, rng: np.random.Generator) -> TokenizedSplit:
        """Return a view of every row, in the rows' order, without labels; `rng` alone decides which."""
        rows = [self._view(row, rng) for row in range(len(self._split))]
        lengths = [len(ids) for ids, _ in rows]
        return TokenizedSplit(
            input_ids=np.concatenate([ids for ids, _ in rows]),
            token_type_ids=np.concatenate([types for _, types in rows]),
            offsets=np.cumsum([0, *lengths], dtype=np.int64),
            labels=np.full(len(rows), NO_LABEL, dtype=np.int64),
            pad_token_id=self._split.pad_token_id,
        )

    def _view(self, row: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A view's token ids and token types."""
        ids, types = self._row(row)
        spans = self._texts(ids)
        texts = [ids[span] for span in spans]
        texts = self._altered(texts, rng)
        texts = [self._reworded(text, rng) for text in texts]
        return self._assembled(ids, types, spans, texts)

    def _row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        cut = slice(self._split.offsets[row], self._split.offsets[row + 1])
        return self._split.input_ids[cut], self._split.token_type_ids[cut]

    def _texts(self, ids: np.ndarray) -> list[slice]:
        """The spans between special tokens."""
        marks = [-1, *np.flatnonzero(self._special[ids]).tolist(), len(ids)]
        return [slice(a + 1, b) for a, b in pairwise(marks) if b - a > 1]

    def _altered(self, texts: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """The texts after at most one change of what stands in them: phrase, crop, join or recombination."""
        shares = self._shares
        draw = rng.random()
        if draw < shares.phrases:
            return [_cut(text, int(rng.integers(1, shares.longest_phrase + 1)), rng) for text in texts]
        draw -= shares.phrases
        if draw < shares.cropped:
            return [_crop(text, rng) for text in texts]
        draw -= shares.cropped
        if draw < shares.joined:
            others = self._other_texts(len(texts), rng)
            return [
                np.concatenate([_crop(a, rng), _crop(b, rng)]) for a, b in zip(texts, others, strict=True)
            ]
        draw -= shares.joined
        if draw < shares.recombined and len(texts) == 2:
            return [texts[0], self._other_texts(2, rng)[1]]
        return texts

    def _other_texts(self, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """The texts of a random row; of one with fewer texts, the last stands for those that lack."""
        ids, _ = self._row(int(rng.integers(len(self._split))))
        texts = [ids[span] for span in self._texts(ids)] or [ids[:0]]
        return [texts[min(index, len(texts) - 1)] for index in range(number)]

    def _reworded(self, text: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The text with some words replaced by near ones and some left out, at least one of them kept."""
        known, shares = self._neighbours, self._shares
        text = text.copy()
        whole = ~np.append(known.continues[text[1:]], False)  # no piece follows that belongs to the word
        replaced = (rng.random(len(text)) < shares.replaced) & known.replaceable[text] & whole
        if replaced.any():
            columns = rng.integers(known.table.shape[1], size=int(replaced.sum()))
            text[replaced] = known.table[text[replaced], columns]
        kept = rng.random(len(text)) >= shares.deleted
        return text[kept] if kept.any() else text

    def _assembled(
        self, ids: np.ndarray, types: np.ndarray, spans: Sequence[slice], texts: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The row's special tokens around the new texts, the longest cut first to fit."""
        room = self._max_length - (len(ids) - sum(span.stop - span.start for span in spans))
        texts = _within(list(texts), room)
        new_ids, new_types, end = [], [], 0
        for span, text in zip(spans, texts, strict=True):
            new_ids += [ids[end : span.start], text]
            new_types += [types[end : span.start], np.full(len(text), types[span.start], types.dtype)]
            end = span.stop
        new_ids.append(ids[end:])
        new_types.append(types[end:])
        return np.concatenate(new_ids).astype(np.int32), np.concatenate(new_types).astype(np.int32)


def _cut(text: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A random run of `length` tokens; the whole text where it is no longer."""
    start = int(rng.integers(0, max(0, len(text) - length) + 1))
    return text[start : start + length]


def _crop(text: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random run of a third of the text to all of it."""
    return _cut(text, int(np.ceil(len(text) * rng.uniform(1 / 3, 1))), rng)


def _within(texts: list[np.ndarray], room: int) -> list[np.ndarray]:
    """The texts, the longest cut by a token until all fit; each keeps one."""
    lengths = [len(text) for text in texts]
    while sum(lengths) > max(room, len(lengths)):
        lengths[lengths.index(max(lengths))] -= 1
    return [text[:length] for text, length in zip(texts, lengths, strict=True)]
