"""The cheapest alternative: a linear model on tf-idf of words and bigrams, made and served in no time.

Whatever a run ships is held against it: where it is as good, nobody needs a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

STRENGTHS = (1.0, 4.0, 16.0)  # inverse regularisation that validation chooses from
TIMED_CALLS = 200
MIB = 2**20


@dataclass(frozen=True)
class LinearModel:
    """A fitted linear classifier of texts; `strength` is the inverse regularisation that validation chose."""

    pipeline: Any
    strength: float

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return the class id of each text, (N,)."""
        found: np.ndarray = self.pipeline.predict(list(texts))
        return found

    def p50_ms(self, texts: Sequence[str]) -> float:
        """Return the median milliseconds from one text to its label, over some of `texts`."""
        times = []
        for text in list(texts)[:TIMED_CALLS]:
            start = time.perf_counter()
            self.pipeline.predict([text])
            times.append((time.perf_counter() - start) * 1000)
        return median(times)

    @property
    def num_parameters(self) -> int:
        """Weights of the classifier, and one inverse document frequency a term."""
        vectorizer, classifier = self.pipeline[0], self.pipeline[-1]
        return int(classifier.coef_.size + classifier.intercept_.size + len(vectorizer.vocabulary_))

    @property
    def size_mib(self) -> float:
        """Weights and frequencies in fp32, and the terms."""
        terms = sum(len(term.encode()) for term in self.pipeline[0].vocabulary_)
        return (4 * self.num_parameters + terms) / MIB


def fit_linear(
    train: tuple[Sequence[str], np.ndarray], validation: tuple[Sequence[str], np.ndarray]
) -> LinearModel:
    """Fit tf-idf of words and bigrams and a logistic regression; the strength is validation's choice.

    Both arguments hold N texts and their class ids (N,).
    """
    fitted = [LinearModel(_fit(strength, *train), strength) for strength in STRENGTHS]
    return max(fitted, key=lambda model: float((model.predict(validation[0]) == validation[1]).mean()))


def _fit(strength: float, texts: Sequence[str], labels: np.ndarray) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    return make_pipeline(words, LogisticRegression(C=strength, max_iter=1000)).fit(list(texts), labels)
