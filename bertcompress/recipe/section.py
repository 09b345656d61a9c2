"""What every section of a recipe is, and the kinds of values that several of them hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

MAX_LENGTH = 512  # tokens; BERT's learned positions end here

Count: TypeAlias = Annotated[int, Field(ge=1)]
Length: TypeAlias = Annotated[int, Field(ge=4, le=MAX_LENGTH)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Rate: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]
Provider: TypeAlias = Literal["cpu", "cuda"]


class Section(BaseModel):
    """Keys of one section: unknown ones are refused, numbers are text where text is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


def different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, unless one is there twice."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is there twice; name each once")
    return values


def as_list(value: Any) -> Any:
    """One word as a list of it."""
    return [value] if isinstance(value, str) else value
