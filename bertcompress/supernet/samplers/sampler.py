"""What every sampler is: a stream of children that a killed training takes up where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bertcompress.supernet.chain import Op_co


class Sampler(Protocol[Op_co]):
    """An endless stream of children, decided by its own random generator alone.

    Processes that train together build it from the same seed, and so train the same child at every step.
    """

    def next_child(self) -> tuple[Op_co, ...]:
        """The next child, one operator a position."""

    def state(self) -> dict[str, Any]:
        """Where the stream is, as JSON values."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
