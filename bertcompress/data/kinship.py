"""Which rows belong together: texts that stand inside others, near-duplicates, rows of one group.

A single text that stands word for word inside no other is a root. Roots that are nearly alike make a
family, and so do rows of one group (`data.group_column`). A text that stands inside roots of one family
alone belongs to it; one that stands inside those of several, such as "good film", belongs to none: if it
linked them, short phrases would glue a corpus of phrases into one family.

Of pairs the pair is the unit: two belong together when both of their texts are equal or nearly so, in
either order. A text that many pairs share, such as the premise of several hypotheses, links none of them,
because one question asked of every text would link all; leaks.py counts such pairs, and a group column
keeps them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertcompress.data.overlap import components, containments, near_pairs, unique_streams
from bertcompress.data.rows import Row

NONE = -1


@dataclass(frozen=True)
class Kinship:
    """The family of each row (N,), -1 for none; and whether its text stands inside another row's (N,).

    `apart` marks rows (N,) whose group is in one family and whose text stands inside rows of another.
    """

    family: np.ndarray
    contained: np.ndarray
    apart: np.ndarray

    @property
    def num_families(self) -> int:
        """Number of families."""
        return int(self.family.max(initial=NONE)) + 1


def kinship(rows: Sequence[Row]) -> Kinship:
    """Find the families of rows of single texts or pairs."""
    if rows and len(rows[0].texts) > 1:
        family = pair_families(rows)
        free = np.zeros(len(rows), bool)
        return Kinship(_with_groups(rows, family, free), free, free)
    return _kinship_of_texts(rows)


def _kinship_of_texts(rows: Sequence[Row]) -> Kinship:
    stream, form_of = unique_streams([row.texts[0] for row in rows])
    everywhere = np.ones(len(stream), bool)
    contained = np.zeros(len(stream), bool)
    for inner, _ in containments(stream, everywhere, everywhere):
        contained[inner] = True
    roots = np.flatnonzero(~contained)
    family = np.full(len(stream), NONE)
    family[roots] = components(len(roots), *near_pairs(stream.select(roots)))
    by_row = _with_groups(rows, family[form_of], contained[form_of])
    # Families that rows of one group link are one from here on.
    family[form_of[~contained[form_of]]] = by_row[~contained[form_of]]
    low, high = np.full(len(stream), len(rows)), np.full(len(stream), NONE)
    for inner, outer in containments(stream, contained, ~contained):
        np.minimum.at(low, inner, family[outer])
        np.maximum.at(high, inner, family[outer])
    own = np.where(contained & (low == high), low, NONE)
    inside = contained[form_of]
    grouped = np.array([row.group is not None for row in rows], dtype=bool)
    settled = np.where(inside & ~grouped, own[form_of], by_row)
    return Kinship(settled, inside, inside & grouped & (own[form_of] != settled))


def pair_families(rows: Sequence[Row]) -> np.ndarray:
    """The family of each pair (N,): equal where both texts are equal or nearly so, in either order."""
    stream, form_of = unique_streams([text for row in rows for text in row.texts])
    alike = components(len(stream), *near_pairs(stream))
    both = np.sort(alike[form_of].reshape(len(rows), -1), axis=1)
    family: np.ndarray = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    return family


def _with_groups(rows: Sequence[Row], family: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Renumber families, those that a group links as one; rows in `free` follow their group alone."""
    numbers: dict[str, int] = {}
    group = np.array(
        [NONE if row.group is None else numbers.setdefault(row.group, len(numbers)) for row in rows],
        dtype=np.int64,
    )
    num_families = int(family.max(initial=NONE)) + 1
    linking = (group != NONE) & ~free
    merged = components(num_families + len(numbers), family[linking], num_families + group[linking])
    of_group = np.where(group == NONE, NONE, merged[num_families + group] if len(numbers) else NONE)
    return np.where(free, of_group, merged[family])
