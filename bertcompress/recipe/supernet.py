"""The section supernet: how weights are shared, which children are trained, and what holds them together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bertcompress.recipe.section import Count, Fraction, Positive, Rate, Section, Share, Weight


class AlignmentSection(Section):
    """The pull of a child towards the anchor (magic-a, magic-at)."""

    weight: Weight = Field(default=0.3, description="lambda at its full height")
    start_fraction: Share = Field(default=0.2, description="share of steps before lambda starts to rise")
    end_fraction: Share = Field(
        default=0.4, description="share of steps by which lambda is at its full height"
    )
    anchor: Literal["best", "teacher", "fixed"] = Field(
        default="best",
        description="the best child on validation so far, the child nearest to the teacher, or the first one",
    )
    inputs: bool = Field(default=False, description="align the positions' inputs too, not only their outputs")
    one_row_in: Count = Field(
        default=2, description="align one row of so many; 1: all, and the anchor costs a pass on each"
    )
    check_every: Count = Field(default=100, description="steps between replacements of the best child")
    check_batches: Count = Field(default=4, description="validation batches of such a check")

    @model_validator(mode="after")
    def _ramp_rises(self) -> Self:
        if self.start_fraction > self.end_fraction:
            raise ValueError(
                f"start_fraction {self.start_fraction} is after end_fraction {self.end_fraction}; "
                "start earlier"
            )
        return self


class Supernet(Section):
    """How the shared weights are trained."""

    strategy: Literal["spos", "fair", "sandwich", "magic-t", "magic-a", "magic-at"] = Field(
        default="spos", description="which child a step trains, and whether it is aligned with an anchor"
    )
    replaced_positions: Count = Field(
        default=1, description="operators that magic-t and magic-at replace from one step to the next"
    )
    fair_update: Literal["separate", "accumulated"] = Field(
        default="separate",
        description="fair: an update for each child of a round, or one for all, which costs as many steps",
    )
    warm_start: Literal["teacher", "none"] = Field(
        default="teacher", description="where the weights start from"
    )
    steps: Count = Field(default=1500, description="optimizer steps")
    batch_size: Count = Field(default=32, description="rows a step")
    learning_rate: Rate = Field(default=5e-4, description="the peak, after the warm-up")
    warmup_fraction: Fraction = Field(default=0.1, description="share of steps in which the rate rises")
    weight_decay: Weight = Field(default=0.01, description="AdamW's decay")
    train_embeddings: bool = Field(default=False, description="train the embeddings too; slower")
    distill_weight: Share = Field(default=0.7, description="share of the teacher's logits in the loss")
    temperature: Positive = Field(default=2.0, description="softens the logits in distillation")
    alignment: AlignmentSection = Field(
        default_factory=AlignmentSection, description="the pull towards the anchor"
    )
    sample_within_budget: bool = Field(
        default=True,
        description="train only children that fit the budget; not fair, nor sandwich's largest and smallest",
    )
