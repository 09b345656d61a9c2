"""The processes that `accelerate launch` started: how many, which one decides, and words between them.

Loads nothing heavy before the first word is said."""

from __future__ import annotations

import os
from typing import Any


def num_processes() -> int:
    """Processes of this launch; 1 when started as usual."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that decides and writes."""
    return num_processes() == 1 or int(os.environ.get("RANK", "0")) == 0


def broadcast(value: Any) -> None:
    """In the first process: give a value to the others, each of which waits in `receive`."""
    if num_processes() > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list([value])


def receive() -> Any:
    """In the other processes: the value that the first one gives to `broadcast`."""
    from accelerate.utils import broadcast_object_list

    values = [None]
    broadcast_object_list(values)
    return values[0]
