"""Texts as sequences of words, which of them stand word for word inside others, and which are nearly alike.

Case and punctuation do not count. Containment is exact: a text of L words, k <= L < 2k for a power of two
k, stands at a place where its first k words and its last k words do, which are compared by 64-bit hashes of
k words, made of those of k / 2 (Karp, Miller and Rosenberg 1972). Nearly alike are texts that share half of
the five-word sequences of the shorter one; those that very many share are left to min-wise hashing (Broder
1997).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WORD = re.compile(r"\w+")
CHUNK = 1 << 20  # places compared at a time
GRAM_WORDS = 5
NEAR_SHARE = 0.5  # of the shorter text's word sequences
MAX_SHARING = 50  # texts that share a word sequence and are still compared pair by pair
NUM_HASHES, BAND = 16, 4

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class WordStream:
    """N texts of words: `words` (their ids, all in one array) and `starts` (N + 1,)."""

    words: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def select(self, texts: np.ndarray) -> WordStream:
        """A stream of the given texts, by number."""
        parts = [self.words[self.starts[text] : self.starts[text + 1]] for text in texts]
        starts = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return WordStream(np.concatenate([*parts, self.words[:0]]), starts)

    @property
    def lengths(self) -> np.ndarray:
        """Words of each text, (N,)."""
        return np.diff(self.starts)


def words_of(text: str) -> tuple[str, ...]:
    """The words by which texts are compared; a text without any, such as an emoji, is one word."""
    return tuple(WORD.findall(text.casefold())) or (text.strip(),)


def unique_streams(texts: Sequence[str]) -> tuple[WordStream, np.ndarray]:
    """The different word sequences of texts, and the number of each text's own, (N,)."""
    forms: dict[tuple[str, ...], int] = {}
    form_of = np.array([forms.setdefault(words_of(text), len(forms)) for text in texts], dtype=np.int64)
    ids: dict[str, int] = {}
    words = np.array([ids.setdefault(word, len(ids)) for form in forms for word in form], dtype=np.uint64)
    starts = np.cumsum([0, *map(len, forms)], dtype=np.int64)
    return WordStream(words, starts), form_of


def containments(stream: WordStream, inner: np.ndarray, outer: np.ndarray) -> Iterator[Pairs]:
    """Yield (contained, container) texts by number, in chunks; a pair may come more than once.

    Of the contained texts only those in the mask `inner` (N,) count, of the containers those in `outer` (N,).
    The texts of a stream differ, so no text is found inside itself.
    """
    lengths, total = stream.lengths, len(stream.words)
    text_of = np.repeat(np.arange(len(stream)), lengths)
    room = stream.starts[text_of + 1] - np.arange(total)  # words from each place to the end of its text
    hashes, size = _scrambled(stream.words), 1
    while size <= lengths.max(initial=0):
        sought = np.flatnonzero(inner & (lengths >= size) & (lengths < 2 * size))
        places = np.flatnonzero((room > size - 1) & outer[text_of])
        yield from _found(stream, hashes, size, sought, places, text_of, room)
        doubled = hashes.copy()
        doubled[: total - size] = _scrambled(hashes[: total - size] * np.uint64(3) + hashes[size:])
        hashes, size = doubled, 2 * size


def _found(
    stream: WordStream,
    hashes: np.ndarray,
    size: int,
    sought: np.ndarray,
    places: np.ndarray,
    text_of: np.ndarray,
    room: np.ndarray,
) -> Iterator[Pairs]:
    """The texts in `sought`, of `size` words to twice as many, at the places that begin and end like them."""
    if not len(sought):
        return
    lengths = stream.lengths[sought]
    first, last = hashes[stream.starts[sought]], hashes[stream.starts[sought + 1] - size]
    whole = _whole(first, last, lengths)
    by_whole = np.argsort(whole, kind="stable")
    # Each beginning with the lengths of the texts that have it: however many texts begin alike, a place is
    # looked up once for a length.
    begins = np.unique(np.stack([first, lengths.astype(np.uint64)], axis=1), axis=0)
    for start in range(0, len(places), CHUNK):
        chunk = places[start : start + CHUNK]
        low, high = (np.searchsorted(begins[:, 0], hashes[chunk], side) for side in ("left", "right"))
        count = high - low
        place = np.repeat(chunk, count)
        number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
        length = begins[number, 1].astype(np.int64)
        fits = length <= room[place]
        place, length = place[fits], length[fits]
        found = _whole(hashes[place], hashes[place + length - size], length)
        at = np.searchsorted(whole[by_whole], found).clip(max=len(sought) - 1)
        text = sought[by_whole[at]]
        same = (whole[by_whole[at]] == found) & (text != text_of[place])
        yield text[same], text_of[place[same]]


def _whole(first: np.ndarray, last: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A hash of whole texts from those of their first and last words, and their lengths."""
    return _scrambled(_scrambled(first * np.uint64(3) + last) ^ lengths.astype(np.uint64))


def near_pairs(stream: WordStream, ahead: np.ndarray | None = None) -> Pairs:
    """Return pairs of texts that are nearly alike; texts of less than five words are in none.

    They are all pairs but for word sequences that more than 50 texts share: texts that are alike as a whole
    are each paired with one of them, of the mask `ahead` (N,) where it has any.
    """
    text_of, grams = _grams(stream)
    if not len(grams):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    sizes = np.bincount(text_of, minlength=len(stream))
    behind = np.zeros(len(stream), bool) if ahead is None else ~ahead
    pairs = [_pairs_by_rare_grams(text_of, grams, sizes), _pairs_by_minhash(text_of, grams, behind)]
    first, second = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return first, second


def _grams(stream: WordStream) -> Pairs:
    """Every text's different sequences of five words: (text, hash), sorted by text."""
    total = len(stream.words)
    text_of = np.repeat(np.arange(len(stream)), stream.lengths)
    words = _scrambled(stream.words)
    hashes = np.zeros(max(0, total - GRAM_WORDS + 1), dtype=np.uint64)
    for offset in range(GRAM_WORDS):
        hashes = _scrambled(hashes * np.uint64(3) + words[offset : offset + len(hashes)])
    inside = text_of[: len(hashes)] == text_of[GRAM_WORDS - 1 : GRAM_WORDS - 1 + len(hashes)]
    text_of, hashes = text_of[: len(hashes)][inside], hashes[inside]
    own = _scrambled(text_of.astype(np.uint64)) ^ hashes
    once = np.sort(np.unique(own, return_index=True)[1])
    return text_of[once], hashes[once]


def _pairs_by_rare_grams(text_of: np.ndarray, grams: np.ndarray, sizes: np.ndarray) -> Pairs:
    # Here, not at the top: recipes are refused before scipy is loaded.
    from scipy.sparse import csr_array, triu

    _, column, sharing = np.unique(grams, return_inverse=True, return_counts=True)
    rare = (sharing[column] > 1) & (sharing[column] <= MAX_SHARING)
    ones = np.ones(int(rare.sum()), dtype=np.int32)
    table = csr_array((ones, (text_of[rare], column[rare])), shape=(len(sizes), len(sharing)))
    shared = triu(table @ table.T, k=1).tocoo()
    near = shared.data >= NEAR_SHARE * np.minimum(sizes[shared.row], sizes[shared.col])
    return shared.row[near].astype(np.int64), shared.col[near].astype(np.int64)


def _pairs_by_minhash(text_of: np.ndarray, grams: np.ndarray, behind: np.ndarray) -> Pairs:
    """Pair each text with the first of those that agree with it on a band of hashes, and on half of all."""
    begins = np.flatnonzero(np.diff(text_of, prepend=-1))
    texts = text_of[begins]
    seeds = _scrambled(np.arange(1, NUM_HASHES + 1, dtype=np.uint64))
    sketch = np.stack([np.minimum.reduceat(_scrambled(grams ^ seed), begins) for seed in seeds], axis=1)
    found: list[Pairs] = []
    for start in range(0, NUM_HASHES, BAND):
        band = _scrambled(sketch[:, start : start + BAND] * np.uint64(3) + seeds[:BAND]).sum(axis=1)
        order = np.lexsort((behind[texts], band))
        begin = np.flatnonzero(np.append(True, band[order][1:] != band[order][:-1]))
        first = np.repeat(order[begin], np.diff(np.append(begin, len(order))))
        near = (first != order) & ((sketch[first] == sketch[order]).mean(axis=1) >= NEAR_SHARE)
        found.append((texts[first[near]], texts[order[near]]))
    first, second = (np.concatenate(each) for each in zip(*found, strict=True))
    return first, second


def components(size: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The number of the connected group of each of `size` things, (size,), given linked pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(size, size))
    groups: np.ndarray = connected_components(links, directed=False)[1]
    return groups


def _scrambled(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: a bijection of 64-bit integers whose bits all depend on all bits."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: np.ndarray = values ^ (values >> np.uint64(31))
    return result
