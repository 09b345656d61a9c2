"""The sections about a space's evolution say what was dropped, when and why, in every form of the report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from report_sample import Page
from rich.console import Console

from bertcompress.report import build_report, print_findings


def candidate(operator: str, fate: str, fitness: float, rival: str | None = None) -> dict[str, Any]:
    return {
        "operator": operator,
        "logit": 0.0,
        "fitness": fitness,
        "waste": 0.0 if rival is None else 0.3,
        "rival": rival,
        "score": fitness,
        "fate": fate,
    }


def generation(number: int, *positions: dict[str, Any]) -> dict[str, Any]:
    return {"generation": number, "positions": list(positions), "num_children": 12, "seconds": 1.0}


@pytest.fixture
def evolution() -> dict[str, Any]:
    first = {
        "candidates": [
            candidate("mha6", "kept", 1.5),
            candidate("ffn384", "reference", 0.7, "mha6"),
            candidate("conv3", "unfit", 0.61, "ffn384"),
            candidate("ffn1536", "unaffordable", 1.2),
        ],
        "added": [{"operator": "mha3", "parent": "mha6"}],
    }
    kept = [candidate("mha6", "kept", 1.25), candidate("identity", "kept", 0.75)]
    second = {"candidates": kept, "added": []}
    costs = {"mha6": (10_000, 0.05), "ffn384": (30_000, 0.1), "conv3": (5_000, 0.34), "mha3": (5_000, 0.03)}
    return {
        "generations": [generation(1, first, second)],
        "settings": {"generations": 1, "steps": 400, "paths": 2},
        "num_children": [8, 6],
        "share_within": [0.25, 0.5],
        "before": [["mha6", "ffn384", "conv3", "ffn1536"], ["mha6", "identity"]],
        "after": [["mha6", "ffn384", "mha3"], ["mha6", "identity"]],
        "reference": ["ffn384", "mha6"],
        "feasible_child": ["mha3", "identity"],
        "operators": [{"operator": name, "macs": m, "latency_ms": ms} for name, (m, ms) in costs.items()],
        "false_savings": [
            {
                "operator": "conv3",
                "instead_of": "ffn384",
                "macs_saved": 5 / 6,
                "time_lost": 2.4,
                "ms": [0.34, 0.1],
                "positions": [0],
            }
        ],
        "table": {"error_ms": 0.012, "num_chains": 36},
        "conditions": "batch 1 x 32 tokens",
        "recipe": "evolve-space/recipe.yaml",
    }


def forms(evolution: dict[str, Any], folder: Path) -> list[str]:
    page = Page(build_report({"name": "run", "evolution": evolution}, folder).read_text(encoding="utf-8"))
    assert page.open == []
    markdown = (folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    console = Console(file=io.StringIO(), width=1000)
    print_findings({"evolution": evolution}, console)
    assert isinstance(console.file, io.StringIO)
    return [page.text, markdown, console.file.getvalue()]


def test_every_form_says_what_was_dropped_and_why(evolution: dict[str, Any], tmp_path: Path) -> None:
    for form in forms(evolution, tmp_path):
        for words in (
            "from 8 to 6 children",
            "within the budgets from 25.0% to 50.0%",
            "ffn384-mha6 is one of them",
            "mha3 (of mha6)",
            "low fitness; ffn384 is as fit for 0.240 ms less, and has 500.0% more MACs",
            "low, but the reference's: kept; mha6 is as fit for 0.050 ms less",
            "in no child within the budgets",
            "mha6, ffn384, mha3",
            "1 pair on this machine at batch 1 x 32 tokens",
            "beyond its error of 0.012 ms",
            "conv3 has 5k MACs against 30k of ffn384, and takes 240.0% longer",
        ):
            assert words in form, words
    assert (tmp_path / "plots/evolution.png").exists()


def test_no_false_saving_is_said_too(evolution: dict[str, Any], tmp_path: Path) -> None:
    honest = evolution | {"false_savings": [], "table": {"error_ms": None, "num_chains": 36}}
    for form in forms(honest, tmp_path):
        assert "No operator takes longer than a rival of more MACs" in form
        assert "of unknown error" in form


def test_a_run_without_evolution_has_no_such_section(tmp_path: Path) -> None:
    page = Page(build_report({"name": "run"}, tmp_path).read_text(encoding="utf-8"))
    assert "Evolution of the space" not in page.text
