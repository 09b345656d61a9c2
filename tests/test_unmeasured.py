"""An export that goes unmeasured hides the exporter's own lines from a trace, and no other."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from torch import nn
from unmeasured import resume, unmeasured_but_for_the_model


class Model(nn.Module):
    def forward(self, number: int) -> int:
        doubled = number * 2
        return doubled


def exporter(model: nn.Module, number: int) -> int:
    answer = model(number)
    if answer < 0:
        raise ValueError
    return answer


def caller(export: Callable[..., int], number: int) -> int:
    before = number
    try:
        before = export(Model(), number)
    except ValueError:
        before = -1
    return before


def lines_traced(export: Callable[..., int], number: int) -> dict[str, int]:
    """How many lines and returns of each function above a trace function sees."""
    seen: Counter[str] = Counter()

    def tracer(frame: FrameType, event: str, _: Any) -> Any:
        seen.update([f"{frame.f_code.co_name} {event}"])
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert caller(export, number) == max(-1, 2 * number)
    finally:
        resume(before, sys._getframe())
    names = [f"{name} {event}" for name in ("forward", "exporter", "caller") for event in ("line", "return")]
    return {name: seen[name] for name in names}


@pytest.mark.parametrize("number", [3, -3])
def test_no_line_is_hidden_but_the_exporter_s(number: int) -> None:
    plain = lines_traced(exporter, number)
    hidden = lines_traced(unmeasured_but_for_the_model(exporter), number)
    assert plain["exporter line"] >= 3
    assert plain["forward return"] == plain["caller return"] == 1
    assert hidden == plain | {"exporter line": 0, "exporter return": 0}


def test_without_a_tracer_none_is_left_behind_and_the_model_is_as_it_was() -> None:
    before, model = sys.gettrace(), Model()
    sys.settrace(None)
    try:
        assert unmeasured_but_for_the_model(exporter)(model, 3) == 6
        left = sys.gettrace()
    finally:
        resume(before, sys._getframe())
    assert left is None
    assert "forward" not in vars(model)
