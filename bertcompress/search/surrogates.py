"""What score to expect of a child: an additive model with its uncertainty, and an ensemble.

Both are scikit-learn regressions on which operator stands where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor, VotingRegressor
from sklearn.linear_model import BayesianRidge

from bertcompress.space import Child, Operator, SearchSpace

Array = NDArray[np.float64]
NUM_MEMBERS = 5
SHARE_SEEN = 0.8  # of what was scored, by each of the members
NUM_TREES = 30


def one_hot(space: SearchSpace, children: Sequence[Child]) -> Array:
    """Which operator stands where: (number of children, operators of all positions), zeros and ones."""
    rows = [
        [float(operator == chosen) for operators, chosen in zip(space.choices, child, strict=True)
         for operator in operators]
        for child in children
    ]  # fmt: skip
    return np.array(rows)


def finite_scores(scores: Sequence[float]) -> Array:
    """The scores, an infinite one replaced by the worst finite one plus a standard deviation of those."""
    values = np.array(scores, dtype=float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(len(values))
    return np.where(np.isfinite(values), values, finite.max() + finite.std())


@dataclass(frozen=True)
class AdditiveScores:
    """A score as `intercept` plus one contribution an operator of a position, known up to a normal posterior.

    Contributions are against the mean of their position. `means` holds a row a position; `covariance` is over
    all contributions, position after position.
    """

    intercept: float
    means: tuple[Array, ...]
    covariance: Array

    @classmethod
    def fit(cls, space: SearchSpace, children: Sequence[Child], scores: Sequence[float]) -> AdditiveScores:
        """Bayesian ridge regression (MacKay 1992): noise and prior variance are estimated from the scores."""
        values = finite_scores(scores)
        scale = float(values.std()) or 1.0
        features = one_hot(space, children)
        model = BayesianRidge().fit(features, values / scale)
        centred = features - features.mean(axis=0)
        # Not the model's own: some versions leave out the directions that no child has shown.
        precision = model.alpha_ * centred.T @ centred + model.lambda_ * np.eye(features.shape[1])
        # What all operators of a position share cannot be told from the intercept.
        to_mean = block_diag(*[np.full((len(o), len(o)), 1 / len(o)) for o in space.choices])
        from_mean = np.eye(features.shape[1]) - to_mean
        sizes = np.cumsum([len(operators) for operators in space.choices])[:-1]
        return cls(
            scale * float(model.intercept_ + sum(row.mean() for row in np.split(model.coef_, sizes))),
            tuple(np.split(scale * (from_mean @ model.coef_), sizes)),
            scale**2 * (from_mean @ np.linalg.inv(precision) @ from_mean),
        )

    @property
    def deviations(self) -> tuple[Array, ...]:
        """The standard deviation of each contribution, a row a position."""
        variances = np.maximum(np.diagonal(self.covariance), 0.0)
        return tuple(np.split(np.sqrt(variances), np.cumsum([len(row) for row in self.means])[:-1]))

    def draw(self, generator: np.random.Generator) -> tuple[Array, ...]:
        """Contributions drawn from the posterior, a row a position (Thompson sampling)."""
        flat = np.concatenate(self.means)
        drawn = generator.multivariate_normal(flat, self.covariance, method="eigh")
        return tuple(np.split(drawn, np.cumsum([len(row) for row in self.means])[:-1]))


class Ensemble:
    """The mean of ridge regressions and of trees, each on a share of what was scored (as in PNAS).

    Besides who stands where it sees how often each operator occurs, which holds for chains of every length.
    """

    def __init__(
        self, space: SearchSpace, children: Sequence[Child], scores: Sequence[float], *, seed: int
    ) -> None:
        self._space = space
        self._operators: list[Operator] = sorted({o for operators in space.choices for o in operators})
        values = finite_scores(scores)
        share = max(1, round(SHARE_SEEN * len(values)))
        additive = BaggingRegressor(
            BayesianRidge(), NUM_MEMBERS, max_samples=share, bootstrap=False, random_state=seed
        )
        trees = ExtraTreesRegressor(NUM_TREES, min_samples_leaf=2, random_state=seed)
        self._model = VotingRegressor([("additive", additive), ("trees", trees)]).fit(
            self._features(children), (values - values.mean()) / (values.std() or 1.0)
        )

    def predict(self, children: Sequence[Child]) -> Array:
        """Expected scores (N,), up to their scale: fit to rank by."""
        if not children:
            return np.zeros(0)
        predicted: Array = self._model.predict(self._features(children))
        return predicted

    def _features(self, children: Sequence[Child]) -> Array:
        counts = [[child.count(operator) for operator in self._operators] for child in children]
        return np.hstack([one_hot(self._space, children), np.array(counts, dtype=float)])
