"""Validation and test rows taken from train so that what they ask stands nowhere in train.

Whole families of rows (kinship.py) are taken, in an order that depends on the seed and the texts alone,
until each class has its share. Rows of no family, whose text stands inside rows of several, stay in train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from bertcompress.data.kinship import NONE, Kinship, kinship
from bertcompress.data.rows import Row


@dataclass(frozen=True)
class Carving:
    """The rows of each split made of train, by number, and what the data report tells of it.

    `report` has the number of `families`, the rows `contained` in another row's text, those `kept_in_train`
    because several families contain them, those `dropped` because their group is on another side than what
    contains them, and those `taken_apart` from their family because a class had no other.
    """

    rows: Mapping[str, list[int]]
    report: Mapping[str, int]


def carve(train: Sequence[Row], fractions: Mapping[str, float], seed: int) -> Carving:
    """Take each split's share of every class from train, at least one row; the rest is "train".

    The sides depend on the seed and on what the rows hold, not on their order.
    """
    kin = kinship(train)
    labels = np.array([row.label for row in train], dtype=np.int64)
    priorities = _priorities(train, seed)
    side = np.zeros(len(train), dtype=np.int64)  # 0 is train
    taken_apart = 0
    for number, fraction in enumerate(fractions.values(), 1):
        target = np.maximum(1, np.round(fraction * np.bincount(labels)).astype(np.int64))
        target[np.bincount(labels) == 0] = 0
        spare = len(fractions) - number + 1
        chosen = _chosen_families(kin, labels, side, priorities, target, spare=spare)
        side[np.isin(kin.family, chosen) & (side == 0)] = number
        taken_apart += _fill_empty_classes(labels, side, priorities, target, number)
    dropped = kin.apart & (side != 0)
    rows = {"train": np.flatnonzero(side == 0).tolist()}
    for number, name in enumerate(fractions, 1):
        rows[name] = np.flatnonzero((side == number) & ~dropped).tolist()
    report = {
        "families": kin.num_families,
        "contained": int(kin.contained.sum()),
        "kept_in_train": int((kin.family == NONE).sum()),
        "dropped": int(dropped.sum()),
        "taken_apart": taken_apart,
    }
    return Carving(rows, report)


def _priorities(rows: Sequence[Row], seed: int) -> np.ndarray:
    """A number for each row (N,) that looks random and depends on the seed and the row's texts alone."""
    key = seed.to_bytes(8, "little", signed=True)
    digests = (blake2b("\0".join(row.texts).encode(), digest_size=8, key=key).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _chosen_families(
    kin: Kinship,
    labels: np.ndarray,
    side: np.ndarray,
    priorities: np.ndarray,
    target: np.ndarray,
    *,
    spare: int,
) -> list[int]:
    """The families that fill the classes' targets, in an order that does not depend on their sizes.

    A family is taken when half of its rows are still wanted, and `spare` rows of each class are left then.
    """
    free = np.flatnonzero((side == 0) & (kin.family != NONE))
    counts = np.zeros((kin.num_families, len(target)), dtype=np.int64)
    np.add.at(counts, (kin.family[free], labels[free]), 1)
    families, place = np.unique(kin.family[free], return_inverse=True)
    keys = np.zeros(len(families), dtype=np.uint64)
    np.add.at(keys, place, priorities[free])
    left = np.bincount(labels[side == 0], minlength=len(target))
    wanted = target.copy()
    chosen = []
    for family in families[np.argsort(keys, kind="stable")]:
        own = counts[family]
        useful = np.minimum(own, wanted).clip(min=0).sum()
        if 2 * useful >= own.sum() and useful and (left - own >= np.minimum(spare, left)).all():
            chosen.append(int(family))
            wanted, left = wanted - own, left - own
            if (wanted <= 0).all():
                break
    return chosen


def _fill_empty_classes(
    labels: np.ndarray, side: np.ndarray, priorities: np.ndarray, target: np.ndarray, number: int
) -> int:
    """Take, in place, one row of every class that the split lacks, whatever its family; how many."""
    lacking = (target > 0) & (np.bincount(labels[side == number], minlength=len(target)) == 0)
    for label in np.flatnonzero(lacking):
        left = np.flatnonzero((labels == label) & (side == 0))
        side[left[np.argmin(priorities[left])]] = number
    return int(lacking.sum())
