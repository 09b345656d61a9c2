"""What a kind of operator declares about itself.

To add a kind, write its file here (no torch) and in model/operators (its module), and list each in the
registry of its folder: `KINDS` here, `MODULES` there. Recipes, counts, search, warm starts, exports and
reports read from these two, and tests/test_operator_kinds.py tests whatever is listed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bertcompress.space.dimensions import Dimensions

# Stands for the gelu node that a precision uses: with the bias of the layer before it, or without.
GELU = "gelu"
# Where an exported graph has the size of an operator: an attribute, or the dense layer before the node.
SizeSource: TypeAlias = Literal["num_heads", "kernel_shape", "dense width"]


@dataclass(frozen=True)
class BertSizes:
    """The sizes of a BERT's layers, as Hugging Face names them."""

    num_attention_heads: int
    intermediate_size: int


@dataclass(frozen=True)
class FusedNode:
    """The node by which an operator is recognised in an optimised ONNX graph.

    `op_type` is ONNX Runtime's, or GELU. `multiplied` says whether a Mul takes its output, as in a gate.
    """

    op_type: str
    size: SizeSource
    multiplied: bool = False


def _none(*_: object) -> None:
    """No problem."""


@dataclass(frozen=True)
class OperatorKind:
    """A kind of operator: its word, what its size means, its counts, and how it appears elsewhere.

    `form` and `size_meaning` name it in errors and help: "mhaH" and "heads". Without `size_meaning` the kind
    has no size, and its word alone names the operator. `colour` is for plots and pages.

    - `describe_size(size)`: the size in words, for reports.
    - `num_parameters(size, dimensions)`: weights, with biases and the layer norm.
    - `macs(size, dimensions, sequence_length, num_outputs)`: multiply-accumulates for 1 or all
      output tokens.
    - `dense_layers(size, dimensions)`: inputs and outputs of each dense layer, which int8 quantizes.
    - `teacher_sizes(bert)`: the sizes that `teacher-sized` in a recipe stands for.
    - `ladder_sizes(dimensions, bert)`: the sizes that evolution of a space may use.
    - `graph_bytes`: what the nodes of one operator take in an fp32 file, without weights.
    - `size_problem(size)`, `width_problem(size, dimensions)`: why no such operator can be built, or None.
    - `stock_problem(size, dimensions)`: why stock BERT has no such operator though it has the kind, or None.
    """

    word: str
    form: str
    size_meaning: str
    title: str
    colour: str
    mixes_tokens: bool
    describe_size: Callable[[int], str]
    num_parameters: Callable[[int, Dimensions], int]
    macs: Callable[[int, Dimensions, int, int], int]
    dense_layers: Callable[[int, Dimensions], list[tuple[int, int]]]
    teacher_sizes: Callable[[BertSizes], Collection[int]]
    ladder_sizes: Callable[[Dimensions, BertSizes], Collection[int]]
    node: FusedNode | None
    graph_bytes: int
    size_problem: Callable[[int], str | None] = _none
    width_problem: Callable[[int, Dimensions], str | None] = _none
    stock_problem: Callable[[int, Dimensions], str | None] = _none

    @property
    def description(self) -> str:
        """The form of the word and what its size means, as errors and help list it."""
        return f"{self.form} ({self.size_meaning})" if self.size_meaning else self.form

    def sizes(self, dimensions: Dimensions, most: int) -> list[int]:
        """Return the sizes up to `most` that can be built; 0 alone for a kind without sizes."""
        if not self.size_meaning:
            return [0]
        return [
            size
            for size in range(1, most + 1)
            if self.size_problem(size) is None and self.width_problem(size, dimensions) is None
        ]


def dense_parameters(layers: list[tuple[int, int]]) -> int:
    """Return the number of weights and biases of dense layers, given their inputs and outputs."""
    return sum(inputs * outputs + outputs for inputs, outputs in layers)
