"""Surrogates recover the scores they are fitted to, and say how sure they are."""

from __future__ import annotations

import math
import random

import numpy as np
from landscapes import landscape, uniform

from bertcompress.search.surrogates import AdditiveScores, Ensemble, finite_scores


def noisy_fit(seed: int, num_children: int) -> tuple[AdditiveScores, np.ndarray]:
    """A fit to additive scores with noise, and the true contributions against the mean of their position."""
    space, rng = uniform(3, ["mha1", "mha2", "ffn48", "conv3"]), random.Random(seed)
    truth = np.random.default_rng(seed).normal(size=(3, 4))
    children = [space.sample(rng) for _ in range(num_children)]
    scores = [
        7.0 + sum(truth[p, space.choices[p].index(o)] for p, o in enumerate(child)) + rng.gauss(0, 0.3)
        for child in children
    ]
    return AdditiveScores.fit(space, children, scores), truth - truth.mean(axis=1, keepdims=True)


def test_additive_scores_are_recovered_with_their_uncertainty():
    misses, deviations = [], {}
    for num_children in (30, 120):
        fits = [noisy_fit(seed, num_children) for seed in range(10)]
        deviations[num_children] = np.mean([model.deviations for model, _ in fits])
        misses += [(np.array(model.means) - truth) / model.deviations for model, truth in fits]
    assert deviations[120] < 0.7 * deviations[30]
    assert 0.6 < np.std(misses) < 1.5  # in deviations: neither too sure nor too unsure
    model, _ = noisy_fit(0, 30)
    generator = np.random.default_rng(0)
    draws = np.array([model.draw(generator) for _ in range(2000)])
    np.testing.assert_allclose(draws.mean(axis=0), model.means, atol=0.02)
    np.testing.assert_allclose(draws.std(axis=0), model.deviations, rtol=0.1)


def test_the_ensemble_ranks_children_it_has_not_seen():
    space, rng = uniform(4), random.Random(0)
    score = landscape(space, 0)
    children = [space.sample(rng) for _ in range(80)]
    ensemble = Ensemble(space, children[:60], [score(child) for child in children[:60]], seed=0)
    predicted = ensemble.predict(children[60:])
    assert np.corrcoef(predicted, [score(child) for child in children[60:]])[0, 1] > 0.5
    assert len(ensemble.predict([])) == 0


def test_infinite_scores_become_the_worst():
    values = finite_scores([1.0, math.inf, 3.0])
    assert values[1] > 3.0
    assert np.isfinite(values).all()
    assert finite_scores([math.inf]).tolist() == [0.0]
