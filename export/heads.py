"""What a network answers, by its head: a class a row, a class a token, or where in the row an answer lies.

Its logits are one array here, (B, C), (B, T, C) or (B, T, 2) of the answer's first and last token; as outputs
of a file they have the names that transformers and optimum give them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

# Of answers that are numbers: as near as this share of their standard deviation they count as the same.
SAME_NUMBER = 0.1
# Of a token that may not be chosen.
_NEVER = -1e4


@dataclass(frozen=True)
class Head:
    """The end of a model's class name in transformers, outputs and their rank, the Hub's word, and ours."""

    class_suffix: str
    outputs: tuple[str, ...]
    rank: int
    task: str
    noun: str


SEQUENCE = Head("ForSequenceClassification", ("logits",), 2, "text-classification", "text classifier")
TOKEN = Head("ForTokenClassification", ("logits",), 3, "token-classification", "token classifier")
SPAN = Head(
    "ForQuestionAnswering", ("start_logits", "end_logits"), 2, "question-answering", "question answerer"
)
HEADS = (SEQUENCE, TOKEN, SPAN)


def head_of_class(name: str) -> Head | None:
    """The head of a class such as BertForTokenClassification; None where it is none of HEADS."""
    return next((head for head in HEADS if name.endswith(head.class_suffix)), None)


def head_of_session(opened: ort.InferenceSession) -> Head | None:
    """The head of an opened file, by its outputs; None where it is none of HEADS."""
    outputs = opened.get_outputs()
    names, rank = tuple(output.name for output in outputs), len(outputs[0].shape)
    return next((head for head in HEADS if (head.outputs, head.rank) == (names, rank)), None)


def choices(logits: np.ndarray, attention_mask: np.ndarray, head: Head) -> np.ndarray:
    """Logits as rows of what is chosen from, (rows, choices), where nothing is of a padded token.

    A row each: of a text, of a token, of an answer's first and of its last token (there the choices are T).
    """
    if head == SEQUENCE:
        return logits
    kept = attention_mask.astype(bool)  # (B, T)
    if head == TOKEN:
        return np.asarray(logits[kept])
    return np.where(kept[:, None, :], logits.transpose(0, 2, 1), _NEVER).reshape(-1, kept.shape[1])


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of several batches in one array: those with fewer choices get more, which are never taken."""
    most = max(batch.shape[1] for batch in rows)
    return np.concatenate(
        [np.pad(batch, ((0, 0), (0, most - batch.shape[1])), constant_values=_NEVER) for batch in rows]
    )


def answers_numbers(head: Head, num_labels: int, problem_type: str | None) -> bool:
    """Return whether all logits of a row count as numbers, and not as choices of which one is taken."""
    many = problem_type in ("regression", "multi_label_classification")
    return head == SEQUENCE and (num_labels == 1 or many)


def same_answers(found: np.ndarray, expected: np.ndarray, *, numbers: bool = False) -> np.ndarray:
    """Return whether two `choices` (rows, choices) answer each row alike, (rows,).

    Of `numbers` (regression, several labels), and of a single column, each column is held against its spread
    over all rows, and a row is the same where the root mean square over its columns is small.
    """
    if not numbers and expected.shape[1] > 1:
        return np.asarray(found.argmax(-1) == expected.argmax(-1))
    # Answers that are all one number differ where float32 sees a difference.
    least = 1e-5 * np.maximum(1.0, np.abs(expected).max(0))
    spread = np.maximum(expected.std(0), least)
    return np.asarray(np.sqrt((((found - expected) / spread) ** 2).mean(-1)) <= SAME_NUMBER)
