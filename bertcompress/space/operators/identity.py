"""`identity`: nothing. It drops its position, which is how depth is searched.

It has no module in model/operators: the canonical form of a child, which is built and exported, has none."""

from __future__ import annotations

from bertcompress.space.operators.kind import OperatorKind

IDENTITY_KIND = OperatorKind(
    word="identity",
    form="identity",
    size_meaning="",
    title="skip",
    colour="#8b93a1",
    mixes_tokens=False,
    describe_size=lambda size: "",
    num_parameters=lambda size, dimensions: 0,
    macs=lambda size, dimensions, sequence_length, num_outputs: 0,
    dense_layers=lambda size, dimensions: [],
    teacher_sizes=lambda bert: [0],
    ladder_sizes=lambda dimensions, bert: [0],
    node=None,
    graph_bytes=0,
)
