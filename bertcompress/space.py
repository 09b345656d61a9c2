"""The search space: a chain x = LN(x + op(x)) with a choice of operators at every position, counted exactly.

Needs no torch, so that recipes, searchers and the command line can count and validate. At the teacher's width
the chain that alternates attention and feed-forward is BERT itself (Devlin et al. 2019)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast, get_args

from bertcompress.errors import SpaceError

OperatorKind: TypeAlias = Literal["mha", "ffn", "conv", "identity"]
# How tokens become the head's vector; with "none" each token keeps its own, for heads that classify tokens.
Pooling: TypeAlias = Literal["cls", "mean", "mean_max", "none"]
# Kinds of operators in which a token's output depends on other tokens.
MIXING_KINDS = ("mha", "conv")
_NAME = re.compile(r"(mha|ffn|conv)([0-9]+)")


@dataclass(frozen=True, order=True)
class Operator:
    """One residual sub-layer; `size` is attention heads, feed-forward inner width or convolution kernel.

    Raises:
        SpaceError: the kind is unknown, or no such size can be built.
    """

    kind: OperatorKind
    size: int = 0

    def __post_init__(self) -> None:
        problem = None
        if self.kind not in get_args(OperatorKind):
            problem = f"unknown kind {self.kind!r}; use one of {', '.join(get_args(OperatorKind))}"
        elif self.kind == "identity" and self.size != 0:
            problem = f"identity has no size, found {self.size}; leave it out"
        elif self.kind != "identity" and self.size < 1:
            problem = f"{self.kind}{self.size} is empty; use a size of 1 or more, or identity"
        elif self.kind == "conv" and self.size % 2 == 0:
            neighbours = f"conv{self.size - 1} or conv{self.size + 1}"
            problem = f"conv{self.size}: an even kernel has no middle; use {neighbours}"
        if problem:
            raise SpaceError(problem)

    @property
    def name(self) -> str:
        """The operator's word in a recipe, e.g. "mha6" or "identity"."""
        return "identity" if self.kind == "identity" else f"{self.kind}{self.size}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> Operator:
        """The operator that a recipe's word names.

        Raises:
            SpaceError: the word is not one of mhaH, ffnW, convK, identity.
        """
        if name == "identity":
            return IDENTITY
        match = _NAME.fullmatch(name)
        if match is None:
            allowed = "mhaH (heads), ffnW (width), convK (odd kernel) or identity"
            raise SpaceError(f'"{name}" is no operator; use {allowed}')
        return cls(cast(OperatorKind, match[1]), int(match[2]))


IDENTITY = Operator("identity")
Child: TypeAlias = tuple[Operator, ...]


def canonical(child: Sequence[Operator]) -> Child:
    """The child without its identities, which is the network that is built and exported."""
    return tuple(operator for operator in child if operator.kind != "identity")


def placed_steps(child: Sequence[Operator]) -> tuple[tuple[int, Operator], ...]:
    """The (position, operator) pairs that compute something: children with equal ones are one computation.

    Weights are owned by position, so the same operator at another position is another step. In sorted order
    children that share their first steps stand together.
    """
    return tuple(step for step in enumerate(child) if step[1].kind != "identity")


def teacher_child(num_hidden_layers: int, heads: int, intermediate_size: int) -> Child:
    """The alternating chain that is a BERT encoder, two positions a layer."""
    return (Operator("mha", heads), Operator("ffn", intermediate_size)) * num_hidden_layers


@dataclass(frozen=True)
class Dimensions:
    """What every child of a space has in common: the sizes outside the chain, and the width inside it.

    Raises:
        SpaceError: a size is not positive, or the embeddings are wider than the chain.
    """

    vocab_size: int
    hidden_size: int
    embedding_size: int
    head_size: int
    num_labels: int
    pooling: Pooling
    max_position_embeddings: int = 512
    type_vocab_size: int = 2

    def __post_init__(self) -> None:
        sizes = {key: value for key, value in asdict(self).items() if key != "pooling"}
        problems = [f"{key}: {value}; use 1 or more" for key, value in sizes.items() if value < 1]
        if self.pooling not in get_args(Pooling):
            problems.append(f"pooling: {self.pooling!r}; use one of {', '.join(get_args(Pooling))}")
        problems += [
            f"{key}: {sizes[key]} is wider than hidden_size; use 1 to {self.hidden_size}"
            for key in ("embedding_size", "head_size")
            if sizes[key] > self.hidden_size
        ]
        if problems:
            raise SpaceError.from_problems("dimensions", problems)

    @property
    def pooled_size(self) -> int:
        """Width of the pooled vector that enters the head."""
        return 2 * self.hidden_size if self.pooling == "mean_max" else self.hidden_size


def operator_parameters(operator: Operator, dimensions: Dimensions) -> int:
    """Exact number of weights of one operator, its biases and its layer norm included."""
    hidden = dimensions.hidden_size
    layer_norm = 2 * hidden
    if operator.kind == "mha":
        inner = operator.size * dimensions.head_size
        return 3 * (hidden * inner + inner) + inner * hidden + hidden + layer_norm
    if operator.kind == "ffn":
        return hidden * operator.size + operator.size + operator.size * hidden + hidden + layer_norm
    if operator.kind == "conv":
        return hidden * operator.size + hidden + hidden * hidden + hidden + layer_norm
    return 0


def operator_macs(
    operator: Operator, dimensions: Dimensions, sequence_length: int, *, first_token: bool = False
) -> int:
    """Multiply-accumulates of one operator on one sequence, without softmax, gelu and layer norm.

    With `first_token`, of its output at the first token only (see `first_token_from`).
    """
    hidden = dimensions.hidden_size
    wanted = 1 if first_token else sequence_length
    if operator.kind == "mha":
        inner = operator.size * dimensions.head_size
        keys_and_values, query_and_output = 2 * sequence_length * hidden, 2 * wanted * hidden
        return inner * (keys_and_values + query_and_output + 2 * wanted * sequence_length)
    if operator.kind == "ffn":
        return 2 * wanted * hidden * operator.size
    if operator.kind == "conv":
        return sequence_length * hidden * operator.size + wanted * hidden * hidden
    return 0


def first_token_from(child: Sequence[Operator], pooling: Pooling) -> int:
    """Index of the first operator whose output is needed at the first token only; their number if none is.

    Where the head reads the first token ("cls"), that is the last operator that mixes tokens: it still reads
    all of them, and a feed-forward after it sees one. Without such an operator it is the first of all.
    """
    if pooling != "cls":
        return len(child)
    return max((index for index, operator in enumerate(child) if operator.kind in MIXING_KINDS), default=0)


@dataclass(frozen=True)
class Architecture:
    """A network that can be built: its dimensions and its chain in canonical form, without identities."""

    dimensions: Dimensions
    operators: Child

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", canonical(self.operators))

    @property
    def name(self) -> str:
        """The chain in words, e.g. "mha3-conv3"; "embeddings-only" when it is empty."""
        return "-".join(operator.name for operator in self.operators) or "embeddings-only"

    def parameter_breakdown(self) -> dict[str, int]:
        """Exact numbers of weights of the embeddings, the chain and the head."""
        d = self.dimensions
        rows = d.max_position_embeddings + d.type_vocab_size + 2  # the layer norm holds two rows
        embeddings = d.vocab_size * d.embedding_size + rows * d.hidden_size
        if d.embedding_size < d.hidden_size:
            embeddings += d.embedding_size * d.hidden_size
        head = d.hidden_size * d.num_labels + d.num_labels
        if d.pooling != "none":
            head += d.pooled_size * d.hidden_size + d.hidden_size
        encoder = sum(operator_parameters(operator, d) for operator in self.operators)
        return {"embeddings": embeddings, "encoder": encoder, "head": head}

    @cached_property
    def num_parameters(self) -> int:
        """Exact number of weights: equals the sum of numel over the built network."""
        return sum(self.parameter_breakdown().values())

    def macs(self, sequence_length: int, batch_size: int = 1) -> int:
        """Multiply-accumulates of one batch; reported, never used as latency."""
        d = self.dimensions
        projection = (
            sequence_length * d.embedding_size * d.hidden_size if d.embedding_size < d.hidden_size else 0
        )
        start = first_token_from(self.operators, d.pooling)
        encoder = sum(
            operator_macs(operator, d, sequence_length, first_token=index >= start)
            for index, operator in enumerate(self.operators)
        )
        head = d.hidden_size * (d.pooled_size + d.num_labels)
        if d.pooling == "none":
            head = sequence_length * d.hidden_size * d.num_labels
        return batch_size * (projection + encoder + head)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; from_dict reads them back."""
        names = [operator.name for operator in self.operators]
        return {"dimensions": asdict(self.dimensions), "operators": names}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """The architecture that to_dict wrote."""
        return cls(
            Dimensions(**values["dimensions"]), tuple(Operator.parse(name) for name in values["operators"])
        )


def _width_problem(operator: Operator, dimensions: Dimensions) -> str | None:
    most = dimensions.hidden_size // dimensions.head_size
    if operator.kind == "mha" and operator.size > most:
        return (
            f"{operator.size} heads of size {dimensions.head_size} are wider than"
            f" hidden_size {dimensions.hidden_size}; use 1 to {most} heads"
        )
    return None


@dataclass(frozen=True)
class SearchSpace:
    """The operators allowed at each position, all over the same dimensions.

    Raises:
        SpaceError: no position, a position without operators or with one twice, or too many heads.
    """

    dimensions: Dimensions
    choices: tuple[tuple[Operator, ...], ...]

    def __post_init__(self) -> None:
        problems = [] if self.choices else ["choices: no position; use 1 or more"]
        for position, operators in enumerate(self.choices):
            if not operators:
                problems.append(f"position {position}: no operator; name one or more")
            for index, operator in enumerate(operators):
                where = f'position {position}: "{operator.name}"'
                if operator in operators[:index]:
                    problems.append(f"{where} is listed twice; name it once")
                if problem := _width_problem(operator, self.dimensions):
                    problems.append(f"{where}: {problem}")
        if problems:
            raise SpaceError.from_problems("search space", problems)

    @classmethod
    def uniform(
        cls, dimensions: Dimensions, num_positions: int, operator_names: Sequence[str]
    ) -> SearchSpace:
        """The space with the same operators at every position; `operator_names` are a recipe's words.

        Raises:
            SpaceError: lists every word that is no operator, is listed twice, or is too wide.
        """
        operators: list[Operator] = []
        problems = [] if operator_names else ["operators: empty; name one or more"]
        if num_positions < 1:
            problems.append(f"num_positions: {num_positions}; use 1 or more")
        for index, name in enumerate(operator_names):
            try:
                operator = Operator.parse(name)
            except SpaceError as error:
                problems.append(f"operators[{index}]: {error}")
                continue
            if operator in operators:
                problems.append(f'operators[{index}]: "{name}" is listed twice; name it once')
            if problem := _width_problem(operator, dimensions):
                problems.append(f'operators[{index}]: "{name}": {problem}')
            operators.append(operator)
        if problems:
            raise SpaceError.from_problems("search space", problems)
        return cls(dimensions, (tuple(operators),) * num_positions)

    @classmethod
    def of_names(cls, dimensions: Dimensions, names: Sequence[Sequence[str]]) -> SearchSpace:
        """The space whose positions have the operators of these words, a sequence for each position.

        Raises:
            SpaceError: a word is no operator, or the positions are none of a space.
        """
        return cls(dimensions, tuple(tuple(Operator.parse(name) for name in words) for words in names))

    @property
    def num_positions(self) -> int:
        """Length of a child, identities included."""
        return len(self.choices)

    @property
    def num_children(self) -> int:
        """Product of the choices; children with the same canonical form are counted apart."""
        product = 1
        for operators in self.choices:
            product *= len(operators)
        return product

    def sample(self, rng: random.Random) -> Child:
        """A child drawn uniformly."""
        return tuple(rng.choice(operators) for operators in self.choices)

    def contains(self, child: Sequence[Operator]) -> bool:
        """Whether the child has the space's length and an allowed operator at every position."""
        return len(child) == self.num_positions and all(
            operator in operators for operator, operators in zip(child, self.choices, strict=True)
        )

    def require(self, child: Sequence[Operator]) -> None:
        """Check that the child is of this space.

        Raises:
            SpaceError: names every position whose operator is not allowed there.
        """
        if self.contains(child):
            return
        problems = []
        if len(child) != self.num_positions:
            problems.append(f"{len(child)} operators; use {self.num_positions}, one a position")
        for position, (operator, operators) in enumerate(zip(child, self.choices, strict=False)):
            if operator not in operators:
                allowed = ", ".join(choice.name for choice in operators)
                problems.append(f"position {position}: {operator.name} is not a choice; use {allowed}")
        raise SpaceError.from_problems("child " + "-".join(operator.name for operator in child), problems)

    def architecture(self, child: Sequence[Operator]) -> Architecture:
        """The network that a child is.

        Raises:
            SpaceError: the child is not of this space.
        """
        self.require(child)
        return Architecture(self.dimensions, tuple(child))

    def largest(self) -> Child:
        """The child with the most parameters."""
        return tuple(max(operators, key=self._size_order) for operators in self.choices)

    def smallest(self) -> Child:
        """The child with the fewest parameters."""
        return tuple(min(operators, key=self._size_order) for operators in self.choices)

    def _size_order(self, operator: Operator) -> tuple[int, Operator]:
        return operator_parameters(operator, self.dimensions), operator
