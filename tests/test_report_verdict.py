"""The verdict and the warnings say what the data shows: of a better model within the budgets, nothing bad."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bertcompress.report import print_summary
from bertcompress.report.comparison import compare_rows, compare_shares
from bertcompress.report.contenders import Contender, alternatives
from bertcompress.report.verdict import verdict
from bertcompress.report.warnings import majority_share, warnings

NUM_ROWS = 1000
Correct = list[int]


def right(num_right: int, seed: int = 0) -> Correct:
    """Answers of a model that is right on `num_right` rows, the first ones but for a few."""
    rows = [1] * num_right + [0] * (NUM_ROWS - num_right)
    rng = random.Random(seed)
    for _ in range(10):
        one, other = rng.randrange(NUM_ROWS), rng.randrange(NUM_ROWS)
        rows[one], rows[other] = rows[other], rows[one]
    return rows


def model(role: str, correct: Correct, p50_ms: float, *, broken: str = "") -> dict[str, Any]:
    return {
        "role": role,
        "architecture": f"{role}-architecture",
        "metrics": {"test": {"accuracy": sum(correct) / NUM_ROWS}, "test_correct": correct},
        "files": {"fp32": {"p50_ms": p50_ms}},
        "budgets": [{"name": broken or "latency_ms", "met": not broken}],
    }


def run(
    teacher: int, baseline: int, winner: int, *, winner_ms: float = 1.0, broken: str = ""
) -> dict[str, Any]:
    models = [
        model("teacher", right(teacher), 10.0),
        model("baseline", right(baseline, 1), 1.0, broken=broken),
        model("winner", right(winner, 2), winner_ms),
    ]
    return {"name": "run", "models": models, "task": {"rows": {"test": NUM_ROWS}}}


def row(name: str, kind: str, correct: Correct, **others: Any) -> dict[str, Any]:
    described = {"name": name, "kind": kind, "metric": sum(correct) / NUM_ROWS, "test_correct": correct}
    return {**described, "within_budgets": True, **others}


def test_a_better_winner_within_the_budgets_is_said_to_be_better() -> None:
    found = verdict(run(900, 800, 833))
    assert found.startswith("winner-architecture keeps 92.6% of the teacher's accuracy: 83.3% against 90.0%")
    assert "measurably better than" in found
    assert "+3.3 points" in found
    assert "10.0 times as fast (1.00 ms against 10.00 ms)" in found


def test_without_the_rows_3_3_points_are_no_simpler_model_that_is_as_good() -> None:
    data = run(900, 800, 833)
    for each in data["models"]:
        del each["metrics"]["test_correct"]
    assert "A simpler model" not in verdict(data)
    assert "not measurably different" in verdict(data)


@given(st.integers(0, NUM_ROWS), st.integers(0, NUM_ROWS), st.floats(0.1, 10))
def test_no_verdict_speaks_of_paying(baseline: int, winner: int, winner_ms: float) -> None:
    found = verdict(run(950, baseline, winner, winner_ms=winner_ms))
    assert "pay" not in found
    assert "paid" not in found
    if winner > baseline + 20:
        assert "A simpler model" not in found


@pytest.mark.parametrize("difference", [0, 4, 15])
def test_a_simpler_model_that_is_as_good_comes_in_the_first_sentence(difference: int) -> None:
    data = run(900, 830 + difference, 830)
    first = verdict(data).split(". ")[0]
    assert first.startswith("A simpler model within the budgets is")
    assert "baseline-architecture (hand design)" in first


def test_a_measurably_better_simple_model_is_called_better() -> None:
    assert verdict(run(900, 860, 800)).startswith("A simpler model within the budgets is better:")


def test_a_baseline_over_the_budgets_is_no_simpler_choice() -> None:
    found = verdict(run(900, 860, 800, broken="num_parameters"))
    assert "A simpler model" not in found
    assert "does not fit the budgets: it is over num_parameters" in found


def test_a_note_that_names_no_budget_is_no_reason() -> None:
    data = run(900, 800, 830)
    over = {"within_budgets": False, "note": "fp32"}
    data["alternatives"] = [
        row("slow", "hand design", right(860, 4), **over),
        row("found", "search winner", right(830, 5), shipped=True),
    ]
    assert verdict(data).endswith("The hand design slow does not fit the budgets.")


def test_without_another_model_the_search_is_not_judged() -> None:
    data = run(900, 800, 833)
    del data["models"][1]
    assert "what the search is worth is not known" in verdict(data)
    assert "nothing to judge" in verdict({"name": "bare"})


def test_a_broken_budget_is_in_the_verdict() -> None:
    data = run(900, 800, 833)
    data["budgets"] = [{"name": "latency_ms", "limit": 1.0, "value": 1.5, "met": False}]
    assert "breaks a budget: its latency is 1.50, at most 1.00 ms was asked" in verdict(data)


def test_alternatives_are_judged_in_place_of_the_baseline() -> None:
    data = run(900, 800, 830)
    data["alternatives"] = [
        row("bag of words", "linear", right(831, 3), p50_ms=None, interval=[0.806, 0.853]),
        row("half a teacher", "truncated teacher", right(870, 4), within_budgets=False),
        row("found", "search winner", right(830, 5), shipped=True, p50_ms=1.0),
    ]
    found = verdict(data)
    assert found.startswith(
        "A simpler model within the budgets is as good, as far as 1,000 test rows can tell"
    )
    assert "bag of words (linear)" in found.split(". ")[0]
    assert "half a teacher" not in found
    console = Console(file=io.StringIO(), width=160)
    print_summary(data | {"verdict": found}, console)
    assert isinstance(console.file, io.StringIO)
    line = next(line for line in console.file.getvalue().splitlines() if line.startswith("bag of words"))
    assert line.split() == ["bag", "of", "words", "linear", "83.1%", "80.6-85.3", "-", "-", "-", "yes"]


def test_an_unknown_kind_of_alternative_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown kind 'magic'; use one of linear, static"):
        alternatives({"alternatives": [row("it", "magic", right(1))]})


def test_a_contender_is_read_from_what_it_is_written_as() -> None:
    given_row = row("it", "static", right(5), interval=[0.1, 0.2], p50_ms=1.5, note="why", shipped=True)
    assert Contender.of(given_row) == Contender(
        "it",
        "static",
        0.005,
        interval=(0.1, 0.2),
        p50_ms=1.5,
        note="why",
        shipped=True,
        test_correct=tuple(right(5)),
    )


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_a_comparison_by_rows_is_antisymmetric(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    found, turned = compare_rows(ours, theirs), compare_rows(theirs, ours)
    assert found.difference == pytest.approx(sum(ours) / len(ours) - sum(theirs) / len(theirs))
    assert turned.difference == -found.difference
    assert turned.p_value == found.p_value
    assert found.low <= found.difference + 1e-9
    assert found.difference - 1e-9 <= found.high
    assert not (found.is_better and found.is_worse)
    assert found.is_better == turned.is_worse


def test_mcnemar_counts_discordant_rows_only() -> None:
    # 6 won and none lost: two-sided, 2 / 2**6.
    assert compare_rows([1] * 6 + [1] * 90, [0] * 6 + [1] * 90).p_value == pytest.approx(2 / 64)
    assert compare_rows([1, 0], [1, 0]).p_value == 1.0


def test_pairing_tells_apart_what_two_samples_do_not() -> None:
    ours, theirs = right(833), right(800)
    assert compare_rows(ours, theirs).is_better
    assert not compare_shares(0.833, 0.8, NUM_ROWS).is_better
    assert compare_shares(0.86, 0.8, NUM_ROWS).is_better


@pytest.mark.parametrize("rows", [([1], [1, 0]), ([], [])])
def test_other_rows_are_refused(rows: tuple[Correct, Correct]) -> None:
    with pytest.raises(ValueError, match="the same test rows"):
        compare_rows(*rows)


@pytest.mark.parametrize(("share", "num_rows"), [(1.5, 10), (0.5, 0)])
def test_what_is_no_share_is_refused(share: float, num_rows: int) -> None:
    with pytest.raises(ValueError, match="shares between 0 and 1"):
        compare_shares(share, 0.5, num_rows)


def test_a_student_above_its_teacher_is_warned_of() -> None:
    assert warnings(run(900, 800, 833)) == []
    found = warnings(run(740, 770, 792))
    assert len(found) == 2
    assert "The teacher (74.0%) is beaten by its own student, winner-architecture (79.2%)" in found[1]


def test_a_bag_of_words_as_good_as_the_teacher_is_warned_of() -> None:
    data = run(830, 800, 820)
    data["alternatives"] = [
        row("tf-idf", "linear", right(831, 3)),
        row("it", "search winner", right(820), shipped=True),
    ]
    assert ["beaten by a bag of words, tf-idf" in words for words in warnings(data)] == [True]


def test_a_teacher_near_chance_is_warned_of() -> None:
    data = run(610, 500, 520)
    data["per_class"] = {"teacher": {"report": {}, "confusion_matrix": [[500, 100], [290, 110]]}}
    assert majority_share(data) == 0.6
    assert "near chance: 61.0% accuracy" in warnings(data)[0]
    assert majority_share({}) is None


def test_given_warnings_come_first_and_leaks_are_counted() -> None:
    data = run(900, 800, 833) | {"warnings": ["a given one"]}
    counts = {"same": 5, "contained": 8, "near": 1, "shared_text": 900}
    report = {"rows": {"validation": 1000, "test": 1000}, "leaks": {"validation_in_train": counts}}
    data["data"] = {"report": report}
    found = warnings(data)
    assert found[0] == "a given one"
    assert found[1].startswith("train gives away 14 of 1,000 rows of validation")
    assert warnings(data | {"warnings": found}) == found
    report["leaks"] = {"validation_in_train": counts | {"contained": 1}}
    assert warnings(data) == ["a given one"]
