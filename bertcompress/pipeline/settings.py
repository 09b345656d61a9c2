"""The settings of a run's trainings, each built from its section of the recipe in one place."""

from __future__ import annotations

from bertcompress.recipe.schema import Student, Teacher
from bertcompress.recipe.supernet import Supernet
from bertcompress.training.distill import DistillWeights
from bertcompress.training.loop import FitSettings


def teacher_settings(chosen: Teacher, num_steps: int) -> FitSettings:
    """Return the settings of the teacher's fine-tuning."""
    return FitSettings(
        num_steps,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.warmup_fraction,
        chosen.weight_decay,
        checkpoint_every=checkpoint_every(num_steps),
    )


def supernet_settings(chosen: Supernet, num_steps: int) -> FitSettings:
    """Return the settings of a training of shared weights: the supernet's, or one of a space that evolves."""
    return FitSettings(
        num_steps,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.warmup_fraction,
        chosen.weight_decay,
        checkpoint_every=checkpoint_every(num_steps),
    )


def supernet_weights(chosen: Supernet) -> DistillWeights:
    """Return the weights of the loss that shared weights are trained with."""
    return DistillWeights(chosen.distill_weight, chosen.temperature)


def student_settings(chosen: Student, num_steps: int, *, checkpoints: bool = True) -> FitSettings:
    """Return the settings of a student's distillation; without `checkpoints` a killed one starts over."""
    return FitSettings(
        num_steps,
        chosen.batch_size,
        chosen.learning_rate,
        checkpoint_every=checkpoint_every(num_steps) if checkpoints else None,
    )


def student_weights(chosen: Student) -> DistillWeights:
    """Return the weights of the loss that a student is distilled with."""
    return DistillWeights(chosen.distill_weight, chosen.temperature, chosen.hidden_weight)


def checkpoint_every(num_steps: int) -> int:
    """Return the steps between checkpoints: a killed training loses at most a twentieth of it."""
    return max(1, num_steps // 20)
