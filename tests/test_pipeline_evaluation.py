"""Fidelity: best where student and teacher agree and are right, and a wrong teacher does not decide alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertcompress.pipeline.evaluation import fidelity


@given(st.integers(0, 999), st.floats(0, 5))
def test_a_student_that_is_its_teacher_diverges_by_nothing(seed: int, loss: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(7, 3))
    shifted = logits + 2.0  # logits are known up to a constant
    found = fidelity(logits, shifted, loss)
    assert found["agreement"] == 1.0
    assert found["divergence"] == pytest.approx(0.0, abs=1e-12)
    assert found["fidelity"] == pytest.approx(-loss / 2)


@given(st.integers(0, 999))
def test_any_difference_costs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(size=(2, 9, 4))
    found = fidelity(ours, theirs, 1.0)
    assert found["divergence"] > 0
    assert found["agreement"] == (ours.argmax(1) == theirs.argmax(1)).mean()
    assert found["fidelity"] > fidelity(ours, theirs, 1.5)["fidelity"]
