"""What is learnt from the data: text columns in, one of several labels out, and how an answer is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TextClassification:
    """One label for one text, or for a pair of texts; `label_names[i]` is the name of class i."""

    text_columns: tuple[str, ...]
    label_column: str
    label_names: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.label_names)

    @property
    def metric_name(self) -> str:
        """The metric by which models are chosen; higher is better."""
        return "accuracy"

    def evaluate(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Score logits (N, C) against class ids (N,): accuracy, macro f1, and mean cross entropy as loss."""
        # Here, not at the top: data is checked before anything is scored, and sklearn takes a second to load.
        from sklearn.metrics import accuracy_score, f1_score

        predicted = logits.argmax(axis=1)  # (N,)
        f1 = f1_score(labels, predicted, labels=range(self.num_labels), average="macro", zero_division=0)
        return {
            "accuracy": float(accuracy_score(labels, predicted)),
            "f1": float(f1),
            "loss": self.loss(logits, labels),
        }

    def results_by_class(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return precision, recall and F1 of every class as "report", and the "confusion_matrix".

        Both are scikit-learn's, as plain values: rows of the matrix are the labels, columns the answers.
        """
        from sklearn.metrics import classification_report, confusion_matrix

        predicted, classes = logits.argmax(axis=1), range(self.num_labels)
        report = classification_report(
            labels,
            predicted,
            labels=classes,
            target_names=self.label_names,
            output_dict=True,
            zero_division=0,
        )
        return {
            "report": report,
            "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
        }

    def loss(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Mean cross entropy of logits (N, C) for class ids (N,)."""
        from scipy.special import log_softmax

        log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
        return float(-log_probabilities[np.arange(len(labels)), labels].mean())
