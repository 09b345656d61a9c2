"""What a run's trainings are set to."""

from __future__ import annotations


def checkpoint_every(num_steps: int) -> int:
    """Steps between checkpoints: a killed training loses at most a twentieth of it."""
    return max(1, num_steps // 20)
