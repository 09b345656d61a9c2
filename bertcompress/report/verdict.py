"""The verdict on a run: what the shipped model keeps of its teacher, and whether a simpler one would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertcompress.report.budgets import budget_label, budget_limits, budget_value
from bertcompress.report.comparison import Comparison
from bertcompress.report.contenders import Contender, compare, contenders, shipped_of, teacher_of
from bertcompress.report.models import metric_name, num_rows
from bertcompress.report.numbers import count, number, percent, points

MARGIN = 0.01  # of the metric: what may be given up for a simpler model
SAME_SPEED = 1.05


def verdict(data: Mapping[str, Any]) -> str:
    """Return the verdict on the data of a report; what matters most to a user comes first.

    Models are compared by McNemar's exact test on the same test rows where each model has `test_correct`,
    and by their standard errors otherwise. The greater metric is taken for the better one.
    """
    shipped = shipped_of(data)
    if shipped is None or shipped.metric is None:
        return "No model was shipped, so there is nothing to judge."
    simpler = _as_good_and_simpler(data, shipped)
    sentences = [
        *_simpler_words(data, shipped, simpler),
        *_broken_words(data, shipped),
        *_teacher_words(data, shipped),
        *_other_words(data, shipped, simpler),
    ]
    return " ".join(sentences)


def _as_good_and_simpler(data: Mapping[str, Any], shipped: Contender) -> Contender | None:
    """Return the best of the simpler models within the budgets that are as good as the shipped one."""
    found = [
        each
        for each in contenders(data)
        if each.is_simpler_than(shipped) and each.within_budgets and _is_as_good(compare(data, each, shipped))
    ]
    return max(found, key=lambda each: each.metric or 0.0, default=None)


def _is_as_good(comparison: Comparison | None) -> bool:
    """Whether a model is at most MARGIN behind, and not measurably so."""
    return comparison is not None and not comparison.is_worse and comparison.difference >= -MARGIN


def _simpler_words(data: Mapping[str, Any], shipped: Contender, simpler: Contender | None) -> Iterator[str]:
    if simpler is None:
        return
    found = compare(data, simpler, shipped)
    assert found is not None
    rows = count(len(simpler.test_correct or ()) or num_rows(data).get("test"))
    told = "better" if found.is_better else f"as good, as far as {rows} test rows can tell"
    yield (
        f"A simpler model within the budgets is {told}: compared with {shipped.name}, {_named(simpler)} has "
        f"{_compared(data, simpler, shipped)}."
    )


def _broken_words(data: Mapping[str, Any], shipped: Contender) -> Iterator[str]:
    for budget in data.get("budgets") or []:
        if not budget.get("met"):
            yield (
                f"{shipped.name} breaks a budget: its {budget_label(budget)} is {budget_value(budget)}, "
                f"{budget_limits(budget)} was asked."
            )


def _teacher_words(data: Mapping[str, Any], shipped: Contender) -> Iterator[str]:
    teacher = teacher_of(data)
    if teacher is None or not teacher.metric or shipped.metric is None:
        return
    kept = percent(shipped.metric / teacher.metric)
    metric = metric_name(data)
    yield f"{shipped.name} keeps {kept} of the teacher's {metric}: {_compared(data, shipped, teacher)}."


def _other_words(data: Mapping[str, Any], shipped: Contender, told: Contender | None) -> Iterator[str]:
    """Compare with the best other model within the budgets, and say that the hand design is over them."""
    others = [each for each in contenders(data) if not each.shipped and each.metric is not None]
    if not others:
        yield "No other model was trained beside it, so what the search is worth is not known."
    within = [each for each in others if each.within_budgets and each != told]
    if within:
        best = max(within, key=lambda each: each.metric or 0.0)
        which = "the best model within the budgets besides" if told is None else "the next best one"
        judged = _judged(compare(data, shipped, best))
        yield f"It is {judged} {which}, {_named(best)}: {_compared(data, shipped, best)}."
    for each in others:
        if each.kind == "hand design" and not each.within_budgets:
            over = f": it is {each.note}" if each.note.startswith("over ") else ""
            yield f"The hand design {each.name} does not fit the budgets{over}."


def _judged(comparison: Comparison | None) -> str:
    if comparison is None:
        return "not compared with"
    if comparison.is_better or comparison.is_worse:
        return f"measurably {'better' if comparison.is_better else 'worse'} than"
    return "not measurably different from"


def _named(contender: Contender) -> str:
    """Return the model's name, with its kind where the name does not say it."""
    return contender.name if contender.kind in contender.name else f"{contender.name} ({contender.kind})"


def _compared(data: Mapping[str, Any], ours: Contender, theirs: Contender) -> str:
    """Return metrics and speed: "80.3% against 83.2% (-2.9 points [-6.5, +0.7]), 13.0 times as fast"."""
    words = f"{percent(ours.metric)} against {percent(theirs.metric)}"
    found = compare(data, ours, theirs)
    if found is not None:
        words += f" ({points(found.difference)} points [{points(found.low)}, {points(found.high)}])"
    return words + _speed(ours, theirs)


def _speed(ours: Contender, theirs: Contender) -> str:
    if not ours.p50_ms or not theirs.p50_ms:
        return ""
    ratio = theirs.p50_ms / ours.p50_ms
    if 1 / SAME_SPEED < ratio < SAME_SPEED:
        speed = "as fast"
    else:
        speed = f"{ratio:.1f} times as fast" if ratio > 1 else f"{1 / ratio:.1f} times as slow"
    return f", {speed} ({number(ours.p50_ms)} ms against {number(theirs.p50_ms)} ms)"
