"""One placement for every network: identities at the end of the chain."""

from __future__ import annotations

from bertcompress.space import IDENTITY, Child, SearchSpace, canonical


def can_pack(space: SearchSpace) -> bool:
    """Whether every child can be placed with its identities at the end: what a position offers, so do all
    positions before it, and identity is offered by all positions or none."""
    pairs = list(zip(space.choices, space.choices[1:], strict=False))
    return all(
        set(later) - {IDENTITY} <= set(earlier) and (IDENTITY in earlier) == (IDENTITY in later)
        for earlier, later in pairs
    )


def packed(child: Child) -> Child:
    """The same network with its identities at the end."""
    operators = canonical(child)
    return operators + (IDENTITY,) * (len(child) - len(operators))
