"""The linear alternative: it learns what words say, and counts what it holds."""

from __future__ import annotations

import random

import numpy as np

from bertcompress.training.linear import MIB, STRENGTHS, fit_linear

GOOD, BAD, FILLERS = ("great", "moving"), ("dull", "hollow"), ("film", "story", "scene", "actor")


def texts(number: int, seed: int) -> tuple[list[str], np.ndarray]:
    rng = random.Random(seed)
    labels = [rng.randrange(2) for _ in range(number)]
    words = [rng.choice((BAD, GOOD)[label]) for label in labels]
    return [f"{rng.choice(FILLERS)} {word} {rng.choice(FILLERS)}" for word in words], np.array(labels)


def test_it_learns_what_words_say() -> None:
    model = fit_linear(texts(80, 0), texts(20, 1))
    unseen, labels = texts(50, 2)
    assert (model.predict(unseen) == labels).all()
    assert model.strength in STRENGTHS
    assert model.p50_ms(unseen) > 0


def test_it_counts_what_it_holds() -> None:
    model = fit_linear((["good film", "bad film"], np.array([1, 0])), (["good film"], np.array([1])))
    terms = ["good", "bad", "film", "good film", "bad film"]
    assert model.num_parameters == len(terms) * 2 + 1  # a weight and a frequency each, and the intercept
    assert model.size_mib * MIB == 4 * model.num_parameters + sum(map(len, terms))


def test_a_word_that_nobody_has_seen_changes_nothing() -> None:
    model = fit_linear(texts(80, 0), texts(20, 1))
    assert model.predict(["great film"])[0] == model.predict(["great film zzz"])[0] == 1
