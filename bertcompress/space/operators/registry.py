"""All kinds of operators by their word, in the order in which help and reports list them."""

from __future__ import annotations

from bertcompress.space.operators.attention import ATTENTION
from bertcompress.space.operators.convolution import CONVOLUTION
from bertcompress.space.operators.feed_forward import FEED_FORWARD
from bertcompress.space.operators.gated_convolution import GATED_CONVOLUTION
from bertcompress.space.operators.gated_feed_forward import GATED_FEED_FORWARD
from bertcompress.space.operators.identity import IDENTITY_KIND
from bertcompress.space.operators.kind import OperatorKind

KINDS: dict[str, OperatorKind] = {
    kind.word: kind
    for kind in (
        ATTENTION,
        FEED_FORWARD,
        CONVOLUTION,
        GATED_FEED_FORWARD,
        GATED_CONVOLUTION,
        IDENTITY_KIND,
    )
}
