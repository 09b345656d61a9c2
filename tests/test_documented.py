"""Every measured number in the docs is that of its record."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import documented
from performance_page import NOT_MEASURED

PAGE = documented.PAGE.read_text(encoding="utf-8")


def test_the_page_says_what_the_records_say() -> None:
    assert documented.missing(PAGE, documented.sentences()) == []


def test_every_number_of_the_page_has_a_record_or_is_none() -> None:
    assert documented.unclaimed(PAGE, documented.sentences(), NOT_MEASURED) == []


def test_what_is_no_measurement_stands_in_the_page() -> None:
    text = " ".join(PAGE.split())
    assert [pattern for pattern in NOT_MEASURED if not re.search(pattern, text)] == []


@pytest.mark.parametrize("sentence", documented.sentences())
def test_a_number_that_changes_is_noticed(sentence: str) -> None:
    found = re.search(r"\d(?=\D*$)", sentence)
    if found is None:  # numbers up to ten are words
        return
    digit = str((int(found.group()) + 1) % 10)
    changed = sentence[: found.start()] + digit + sentence[found.end() :]
    assert documented.missing(sentence, [changed]) == [changed]


def test_a_number_without_a_record_is_found() -> None:
    (around,) = documented.unclaimed("It takes 5% off two threads at 1x32.", [], [r"\d+x\d+"])
    assert "5" in around
    assert documented.unclaimed("It takes 5% off.", ["it takes 5% off"], []) == []
