"""Results by class are those of scikit-learn: small matrices whole, of large ones the largest confusions."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sklearn.metrics import classification_report, confusion_matrix

from bertcompress.report.section import Table
from bertcompress.report.sections import per_class


def results(num_classes: int) -> dict[str, Any]:
    rng = random.Random(0)
    labels = [place % num_classes for place in range(40 * num_classes)]
    answers = [label if rng.random() < 0.7 else rng.randrange(num_classes) for label in labels]
    names = [f"class{place}" for place in range(num_classes)]
    report = classification_report(labels, answers, target_names=names, output_dict=True)
    return {"report": report, "confusion_matrix": confusion_matrix(labels, answers).tolist()}


def tables(num_classes: int) -> list[Table]:
    section = per_class.section(
        {"per_class": {"teacher": results(num_classes), "winner": results(num_classes)}}
    )
    assert section is not None
    return [block for block in section.blocks if isinstance(block, Table)]


def test_every_class_has_its_row_and_every_answer_its_column() -> None:
    classes, matrix, *_ = tables(3)
    expected, confusions = results(3)["report"], results(3)["confusion_matrix"]
    names = [row.cells[0].text for row in classes.rows]
    assert names == ["class0", "class1", "class2", "macro avg", "weighted avg"]
    assert classes.rows[1].cells[2].text == f"{100 * expected['class1']['recall']:.1f}%"
    assert [[int(cell.text) for cell in row.cells[1:]] for row in matrix.rows] == confusions


def test_of_many_classes_the_largest_confusions_are_shown() -> None:
    _, confusions, *_ = tables(24)
    rows = [int(row.cells[2].text) for row in confusions.rows]
    assert len(rows) == per_class.MOST_CONFUSIONS
    assert rows == sorted(rows, reverse=True)
    assert all(row.cells[0].text != row.cells[1].text for row in confusions.rows)


def test_a_matrix_of_other_classes_is_refused() -> None:
    mixed = results(3) | {"confusion_matrix": [[1]]}
    with pytest.raises(ValueError, match="winner has 3 classes and 1 rows"):
        per_class.section({"per_class": {"winner": mixed}})


def test_without_results_there_is_no_section() -> None:
    assert per_class.section({"name": "run"}) is None
