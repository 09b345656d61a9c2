"""Packing moves identities to the end and changes neither the network nor the space."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from landscapes import uneven, uniform

from bertcompress.search.placement import can_pack, packed
from bertcompress.space import IDENTITY, canonical


@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_packing_keeps_the_network_and_the_space(data, seed):
    space = data.draw(
        st.sampled_from([uniform(4), uneven("mha1 conv3 identity", "conv3 identity"), uniform(2, ["conv3"])])
    )
    assert can_pack(space)
    child = space.sample(random.Random(seed))
    assert space.contains(packed(child))
    assert canonical(packed(child)) == canonical(child)
    assert packed(child) == tuple(sorted(child, key=lambda operator: operator == IDENTITY))


def test_a_space_whose_later_positions_offer_more_cannot_be_packed():
    assert not can_pack(uneven("conv3 identity", "conv3 mha1 identity"))
    assert not can_pack(uneven("conv3", "conv3 identity"))
