"""The W3C trace context that records carry: https://www.w3.org/TR/trace-context/

A record that came with `traceparent` (and `tracestate`) gives both to what is sent because of it,
unchanged: whoever reads on finds the trace that the publisher began. One that is not well formed is
not passed on, as the recommendation asks; of version 00, the only one there is, that is 55
characters.
"""

import re
from collections.abc import Sequence
from typing import Final

from pointstream.engine.records import Header

__all__ = ["TRACEPARENT", "TRACESTATE", "trace_id_of", "trace_of"]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

#: Zeros alone are no id.
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: What a participant must pass on at least; what is longer may be dropped.
_TRACESTATE_BYTES_MAX: Final = 512


def trace_of(headers: Sequence[Header]) -> tuple[Header, ...]:
    """Return the headers that pass a record's trace on; none if it has none."""
    parent = state = None
    for name, value in headers:
        if name == TRACEPARENT:
            parent = value
        elif name == TRACESTATE:
            state = value
    # A header's value may be null in Kafka, whatever the client's types say.
    if parent is None or _TRACEPARENT.fullmatch(parent) is None:
        return ()
    if not state or len(state) > _TRACESTATE_BYTES_MAX:
        return ((TRACEPARENT, parent),)
    return (TRACEPARENT, parent), (TRACESTATE, state)


def trace_id_of(headers: Sequence[Header]) -> str | None:
    """Return the id of a record's trace, 32 hexadecimal digits; None if it has none."""
    trace = trace_of(headers)
    return trace[0][1][3:35].decode() if trace else None
