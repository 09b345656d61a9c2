"""What a killed training needs to draw the same rows and children again: states as JSON."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol


class Stateful(Protocol):
    """A part of a training that changes from step to step."""

    def state(self) -> dict[str, Any]:
        """What `restore` needs: by name, tensors or values that JSON keeps as they are."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that `state` gave."""


def random_state(rng: random.Random) -> list[Any]:
    """The state of a generator as JSON."""
    version, numbers, gauss = rng.getstate()
    return [version, list(numbers), gauss]


def set_random_state(rng: random.Random, state: list[Any]) -> None:
    """Bring a generator to what `random_state` gave."""
    version, numbers, gauss = state
    rng.setstate((version, tuple(numbers), gauss))
