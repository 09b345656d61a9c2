"""The sections about the supernet say the same in every form, and only where there is something to say."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_sample import Page
from rich.console import Console

from bertcompress.diagnostics.interference import Comparison
from bertcompress.diagnostics.interference_summary import summarize_interference, summarize_mixing
from bertcompress.diagnostics.intervention import MIXES, SIGNALS, Mixed
from bertcompress.diagnostics.ranking import count_baselines, rank_report
from bertcompress.report import build_report, print_findings

HOSTILE = "<b>[red]|`x`"


def ranking(*, seeds: int = 2) -> dict[str, Any]:
    """A ranking in which counting "a" beats the supernet."""
    rng, draw = np.random.default_rng(0), random.Random(0)
    children = sorted({"".join(draw.choice("abc") for _ in range(5)) for _ in range(12)})
    truth = -np.array([[child.count("a")] * seeds for child in children]) + 0.1 * rng.normal(
        size=(len(children), seeds)
    )
    baselines = count_baselines(
        children, truth, kind_of=str, costs={HOSTILE: range(len(children))}, proxies={}
    )
    return rank_report(children, truth, rng.normal(size=len(children)), baselines, seed=0, num_resamples=20)


def interference() -> dict[str, Any]:
    """Cosines that fall with the number of differing positions, more so after training."""

    def measured(slope: float) -> dict[str, Any]:
        rows = [
            Comparison(pair, 0, "a", HOSTILE, d, 0, 0.9 - slope * d + 0.01 * pair, 0.1, 0.1 * pair, 0.2, 0.3)
            for pair, d in enumerate((1, 2, 3, 1, 2, 3))
        ]
        mixed = [
            Mixed(pair, 0, "a", signal, tuple(0.1 + mix * 0.5 for mix in MIXES))
            for pair in range(3)
            for signal in SIGNALS
        ]
        return summarize_interference(rows, seed=0) | {"mixing": summarize_mixing(mixed, seed=0)}

    return {"before": measured(0.05), "after": measured(0.2)}


def terminal(data: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=1000)
    print_findings({key: data[key] for key in ("ranking", "interference")}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return {"name": "run", "ranking": ranking(), "interference": interference()}


def test_every_form_says_the_same(data: dict[str, Any], tmp_path: Path) -> None:
    page = Page(build_report(data, tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 2
    assert HOSTILE in page.text
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    tau = data["ranking"]["supernet"]["kendall"]
    first = data["interference"]["after"]["by_distance"][0]["cosine"]["value"]
    for form in (page.text, markdown, terminal(data)):
        for words in (
            data["ranking"]["verdict"],
            data["ranking"]["warnings"][0].replace(HOSTILE, ""),
            f"{tau['value']:.2f} [{tau['low']:.2f}, {tau['high']:.2f}]",
            f"{first:.2f} [",
            "moves the cosine from 0.10 to 0.60, rising at every step, over 3 pairs",
        ):
            assert words in form
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"ranking.png", "interference.png"}


def test_a_run_without_these_findings_has_no_such_section(tmp_path: Path) -> None:
    page = Page(build_report({"name": "run"}, tmp_path).read_text(encoding="utf-8"))
    assert "Ranking of children" not in page.text
    assert "Interference" not in page.text


def test_one_seed_has_no_ceiling(tmp_path: Path) -> None:
    found = {"name": "run", "ranking": ranking(seeds=1), "interference": {}}
    page = Page(build_report(found, tmp_path).read_text(encoding="utf-8"))
    assert "no ceiling from one seed" in page.text
    assert "with 1 seed;" in page.text
