"""How many rows of one split another split gives away: the same text, one that holds it, one nearly alike.

Between a user's own splits leaks are counted and never moved: which rows are held back is theirs to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertcompress.data.kinship import pair_families
from bertcompress.data.overlap import containments, near_pairs, unique_streams
from bertcompress.data.rows import Row


def count_leaks(held: Sequence[Row], train: Sequence[Row]) -> dict[str, int]:
    """Count the held-out rows that train gives away; each is counted once, by the first that holds.

    `same`: equal but for case and punctuation. `contained`: inside a text of train. `near`: it shares half of
    the five-word sequences of the shorter text. Of pairs, `near` means both texts, in either order, and
    `shared_text` counts those of which one text alone stands in a pair of train.
    """
    if held and len(held[0].texts) > 1:
        return _count_leaking_pairs(held, train)
    stream, form_of = unique_streams([row.texts[0] for row in (*held, *train)])
    outside = np.zeros(len(stream), bool)
    outside[form_of[len(held) :]] = True
    sought = np.zeros(len(stream), bool)
    sought[form_of[: len(held)]] = True
    contained, near = np.zeros(len(stream), bool), np.zeros(len(stream), bool)
    for inner, _ in containments(stream, sought & ~outside, outside):
        contained[inner] = True
    first, second = near_pairs(stream, ahead=outside)
    near[first[outside[second]]] = True
    near[second[outside[first]]] = True
    mine = form_of[: len(held)]
    return _tally({"same": outside[mine], "contained": contained[mine], "near": near[mine]})


def _count_leaking_pairs(held: Sequence[Row], train: Sequence[Row]) -> dict[str, int]:
    rows = [*held, *train]
    _, form_of = unique_streams([text for row in rows for text in row.texts])
    forms = np.sort(form_of.reshape(len(rows), -1), axis=1)
    same = np.unique(forms, axis=0, return_inverse=True)[1].reshape(-1)
    family = pair_families(rows)
    mine, theirs = slice(None, len(held)), slice(len(held), None)
    return _tally(
        {
            "same": np.isin(same[mine], same[theirs]),
            "near": np.isin(family[mine], family[theirs]),
            "shared_text": np.asarray(np.isin(forms[mine], forms[theirs]).any(axis=1)),
        }
    )


def _tally(found: dict[str, np.ndarray]) -> dict[str, int]:
    counts, counted = {}, np.zeros(len(next(iter(found.values()))), bool)
    for name, rows in found.items():
        counts[name] = int((rows & ~counted).sum())
        counted |= rows
    return counts
