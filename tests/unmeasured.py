"""Coverage looks away while torch exports a model: tracing torch's own Python would double the time of it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import nn


def unmeasured_but_for_the_model(export: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.onnx.export` untraced, except in the model's own forward: no line of ours is lost."""

    @functools.wraps(export)
    def wrapped(model: nn.Module, *arguments: Any, **named: Any) -> Any:
        tracer, forward = sys.gettrace(), model.forward

        @functools.wraps(forward)
        def measured_forward(*inputs: Any, **further: Any) -> Any:
            sys.settrace(tracer)
            try:
                return forward(*inputs, **further)
            finally:
                sys.settrace(None)

        model.forward = measured_forward
        sys.settrace(None)
        try:
            return export(model, *arguments, **named)
        finally:
            del model.forward
            resume(tracer, sys._getframe())

    return wrapped


def resume(tracer: Any, frame: FrameType | None) -> None:
    """Trace again, in the calls that have begun too: the record needs their next lines and their return."""
    while frame is not None:
        frame.f_trace = tracer
        frame = frame.f_back
    sys.settrace(tracer)
