"""Do the docs say what the records say? Names each sentence that differs, and each number without a record.

python benchmarks/documented.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import performance_page

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def sentences() -> list[str]:
    """Return everything that the page has to hold, in its order."""
    return [sentence for section in performance_page.SECTIONS for sentence in section()]


def forms(sentence: str) -> tuple[str, str]:
    """Return a sentence as it is, and as it begins a line."""
    return sentence, sentence[0].upper() + sentence[1:]


def missing(page: str, expected: Sequence[str]) -> list[str]:
    """Return the expected sentences that the page lacks, wherever its lines break."""
    text = " ".join(page.split())
    return [sentence for sentence in expected if not any(form in text for form in forms(sentence))]


def unclaimed(page: str, expected: Sequence[str], not_measured: Sequence[str]) -> list[str]:
    """Return the numbers of the page that stand in no expected sentence, with what is around them.

    Code in backticks and what matches `not_measured` are left out.
    """
    text = " ".join(page.split())
    for sentence in sorted(expected, key=len, reverse=True):
        for form in forms(sentence):
            text = text.replace(form, "")
    for pattern in (*not_measured, r"`[^`]*`"):
        text = re.sub(pattern, "", text)
    return [text[max(0, found.start() - 40) : found.end() + 20] for found in re.finditer(r"\d[\d.,]*", text)]


def main() -> int:
    """Name what the page lacks and the numbers that no record stands behind."""
    page, expected = PAGE.read_text(encoding="utf-8"), sentences()
    found = [f"differs: {sentence}" for sentence in missing(page, expected)]
    loose = unclaimed(page, expected, performance_page.NOT_MEASURED)
    found += [f"no record: {around}" for around in loose]
    print("\n".join(found) or f"{PAGE.name}: {len(expected)} sentences and rows as their records have them")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
