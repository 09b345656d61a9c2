"""All kinds of operators by their word, in the order in which help and reports list them."""

from __future__ import annotations

from bertcompress.space.operators.attention import ATTENTION
from bertcompress.space.operators.convolution import CONVOLUTION
from bertcompress.space.operators.feed_forward import FEED_FORWARD
from bertcompress.space.operators.identity import IDENTITY_KIND
from bertcompress.space.operators.kind import OperatorKind

KINDS: dict[str, OperatorKind] = {
    kind.word: kind
    for kind in (
        ATTENTION,
        FEED_FORWARD,
        CONVOLUTION,
        IDENTITY_KIND,
    )
}
