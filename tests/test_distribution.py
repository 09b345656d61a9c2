"""A learned distribution comes back from its file, goes over to other spaces, and is weighted by scores."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landscapes import NAMES, uniform

from bertcompress.errors import RunFolderError, SpaceError
from bertcompress.search.distribution import OperatorDistribution
from bertcompress.search.searchers.parsec import importance_weights


@given(seed=st.integers(0, 999), num_positions=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_distribution_comes_back_from_json_unchanged(seed, num_positions, tmp_path_factory):
    space = uniform(num_positions)
    generator = np.random.default_rng(seed)
    rows = tuple(generator.dirichlet(np.full(len(o), 0.3)) for o in space.choices)
    distribution = OperatorDistribution(space.choices, rows)
    path = tmp_path_factory.mktemp("distribution") / "distribution.json"
    distribution.save(path)
    loaded = OperatorDistribution.load(path, space)
    for row, loaded_row in zip(rows, loaded.probabilities, strict=True):
        np.testing.assert_array_equal(row, loaded_row)
    draws = [d.draw(random.Random(seed)) for d in (distribution, loaded)]
    assert draws[0] == draws[1]


@given(seed=st.integers(0, 99), saved=st.integers(1, 4), wanted=st.integers(1, 7), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_distribution_is_carried_over_to_other_positions_and_operators(seed, saved, wanted, data):
    names = data.draw(st.lists(st.sampled_from([*NAMES, "conv5", "ffn16"]), min_size=1, unique=True))
    generator = np.random.default_rng(seed)
    space = uniform(saved)
    rows = tuple(generator.dirichlet(np.ones(len(NAMES))) for _ in range(saved))
    values = OperatorDistribution(space.choices, rows).to_dict()
    carried = OperatorDistribution.from_dict(json.loads(json.dumps(values)), uniform(wanted, names))
    for position, row in enumerate(carried.probabilities):
        assert row.sum() == pytest.approx(1)
        at = round(position * (saved - 1) / max(1, wanted - 1))
        new = [index for index, name in enumerate(names) if name not in NAMES]
        assert row[new] == pytest.approx([1 / len(names)] * len(new))
        kept = [index for index, name in enumerate(names) if name in NAMES]
        before = np.array([rows[at][NAMES.index(names[index])] for index in kept])
        assert row[kept] * before.sum() == pytest.approx(before * row[kept].sum())  # in proportion


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "positions"),
        ('{"positions": []}', "positions"),
        ('{"positions": [{"conv3": 0.5}]}', "position 0: the probabilities add up to 0.5"),
        ('{"positions": [{"conv3": 1.0}, {"conv3": "much"}]}', "position 1"),
        ('{"positions": [{"conv3": true}]}', "position 0"),
    ],
)
def test_a_file_that_holds_no_distribution_is_refused(tmp_path, content, message):
    path = tmp_path / "distribution.json"
    path.write_text(content)
    with pytest.raises(SpaceError, match=message) as caught:
        OperatorDistribution.load(path, uniform(2))
    assert str(path) in str(caught.value)
    with pytest.raises(RunFolderError, match="missing"):
        OperatorDistribution.load(tmp_path / "none.json", uniform(2))


@given(scores=st.lists(st.integers(0, 20), min_size=1, max_size=9), scale=st.sampled_from([0.01, 1.0, 100.0]))
def test_importance_weights_are_a_distribution_that_prefers_low_scores(scores, scale):
    values = np.array(scores, dtype=float)
    weights = importance_weights(values, 0.5)
    assert weights.sum() == pytest.approx(1)
    order = np.argsort(values, kind="stable")
    assert (np.diff(weights[order]) <= 1e-12).all()
    np.testing.assert_allclose(importance_weights(values * scale, 0.5), weights)
