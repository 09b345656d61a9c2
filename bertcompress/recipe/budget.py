"""The section `budget` of a recipe: limits on any of the costs, and on latencies at several conditions."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from bertcompress.recipe.section import Count, Length, Positive, Provider, Section
from bertcompress.space.precisions import PrecisionWord

CONDITIONS = ("batch_size", "sequence_length", "num_threads", "precision", "provider")
# What a limit's form adds to the place of an error, which no key can be called.
NUMBER_MARK, RANGE_MARK = "[number]", "[range]"


class Range(Section):
    """Both ends of a budget, or one of them; the ends are allowed."""

    min: Positive | None = Field(default=None, description="the least")
    max: Positive | None = Field(default=None, description="the most")

    @model_validator(mode="after")
    def _some_and_in_order(self) -> Self:
        _check_order(self)
        return self


class CountRange(Section):
    """Both ends of a budget in whole numbers, or one of them; the ends are allowed."""

    min: Count | None = Field(default=None, description="the least")
    max: Count | None = Field(default=None, description="the most")

    @model_validator(mode="after")
    def _some_and_in_order(self) -> Self:
        _check_order(self)
        return self


def _check_order(limits: Range | CountRange) -> None:
    if limits.min is None and limits.max is None:
        raise ValueError("empty; give min, max or both")
    if limits.min is not None and limits.max is not None and limits.min > limits.max:
        raise ValueError(f"min {limits.min:g} is above max {limits.max:g}; nothing is between them")


def _pair_as_range(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    if len(value) != 2:
        raise ValueError(f"found {len(value)} numbers; write one, [min, max], or {{min: .., max: ..}}")
    return {"min": value[0], "max": value[1]}


def _limit_form(value: Any) -> str:
    return RANGE_MARK if isinstance(value, dict | Section) else NUMBER_MARK


CountLimit: TypeAlias = Annotated[
    Annotated[Count, Tag(NUMBER_MARK)] | Annotated[CountRange, Tag(RANGE_MARK)],
    Discriminator(_limit_form),
    BeforeValidator(_pair_as_range),
]
Limit: TypeAlias = Annotated[
    Annotated[Positive, Tag(NUMBER_MARK)] | Annotated[Range, Tag(RANGE_MARK)],
    Discriminator(_limit_form),
    BeforeValidator(_pair_as_range),
]


def ends(limit: float | Range | CountRange | None) -> tuple[float | None, float | None]:
    """The least and the most that a limit allows; a number is the most."""
    return (limit.min, limit.max) if isinstance(limit, Range | CountRange) else (None, limit)


def _one_latency(latency_ms: Any, speedup: Any) -> None:
    if latency_ms is not None and speedup is not None:
        raise ValueError("latency_ms and speedup both bound the latency; keep one")


class LatencyBudget(Section):
    """A latency at conditions of its own; a condition that is left out is the one under latency."""

    batch_size: Count | None = Field(default=None, description="rows a call")
    sequence_length: Length | None = Field(default=None, description="tokens a row")
    num_threads: Count | None = Field(default=None, description="threads of ONNX Runtime")
    precision: PrecisionWord | None = Field(default=None, description="the exported file that is timed")
    provider: Provider | None = Field(default=None, description="ONNX Runtime's execution provider")
    latency_ms: Limit | None = Field(default=None, description="p50")
    speedup: Limit | None = Field(
        default=None, description="in place of latency_ms: at least so many times faster than the teacher"
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        _one_latency(self.latency_ms, self.speedup)
        if self.latency_ms is None and self.speedup is None:
            raise ValueError("bounds nothing; give latency_ms or speedup")
        return self

    def conditions(self, latency: Section) -> dict[str, Any]:
        """All five conditions by name, those that are left out taken from the section `latency`."""
        return {
            name: getattr(latency, name) if getattr(self, name) is None else getattr(self, name)
            for name in CONDITIONS
        }


class BudgetSection(Section):
    """What the exported winner must fit; at least one. A number is the most, a range both ends."""

    num_parameters: CountLimit | None = Field(default=None, description="weights, embeddings included")
    macs: CountLimit | None = Field(
        default=None, description="multiply-accumulates of a call, at the conditions under latency"
    )
    size_mib: Limit | None = Field(default=None, description="the exported file in latency.precision")
    latency_ms: Limit | None = Field(default=None, description="p50, at the conditions under latency")
    speedup: Limit | None = Field(
        default=None, description="in place of latency_ms: at least so many times faster than the teacher"
    )
    latencies: tuple[LatencyBudget, ...] = Field(
        default=(), description="latencies at further conditions, each met beside the others"
    )

    @model_validator(mode="after")
    def _some_and_one_latency(self) -> Self:
        _one_latency(self.latency_ms, self.speedup)
        limits = (self.num_parameters, self.macs, self.size_mib, self.latency_ms, self.speedup)
        if not self.latencies and all(limit is None for limit in limits):
            raise ValueError(
                "empty; give num_parameters, macs, size_mib, latency_ms or speedup, or some of them"
            )
        return self
