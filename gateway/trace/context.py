"""Which batches are traced, and under which identities. Pure.

The trace of a batch is made of its identity: the first 16 bytes of a hash of (node, lane, epoch, sequence); its root
span's id of the same. So a batch that is made again after a crash, sent again, or sent from a spool of last week is in
the same trace, and nothing has to be remembered or journaled for it. Which batches are sampled is decided by that hash
as well, as OpenTelemetry's ratio sampler does it: a tenth of all traces is a part of half of them.

All other spans have ids of chance: the same thing done twice is two spans.

Source: W3C Trace Context, section 3.2; OpenTelemetry, TraceIdRatioBased.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.batch.envelope import TRACEPARENT

if TYPE_CHECKING:
    from gateway.model import BatchId

PROPERTY: Final = "traceparent"
"""Name of the MQTT user property, and of the CloudEvents attribute, that carries a context."""

_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_LOW: Final = (1 << 64) - 1
_SAMPLED: Final = 1
_PERSON: Final = b"edge-gateway"


class Context(NamedTuple):
    """A span that others refer to."""

    trace_id: int
    span_id: int
    is_sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


def root_of(identity: BatchId) -> Context:
    """Return the root span of a batch."""
    text = "\0".join(map(str, identity)).encode()
    hashed = blake2b(text, digest_size=_TRACE_BYTES + _SPAN_BYTES, person=_PERSON).digest()
    trace_id, span_id = int.from_bytes(hashed[:_TRACE_BYTES]), int.from_bytes(hashed[_TRACE_BYTES:])
    return Context(trace_id or 1, span_id or 1)


def is_sampled(context: Context, ratio: float) -> bool:
    """Say whether a share of `ratio` of all traces has this one."""
    return (context.trace_id & _LOW) < round(ratio * (_LOW + 1))


def parsed(text: str) -> Context | None:
    """Return the context that a `traceparent` names; None for one that is not of version 00, or all zeros."""
    if TRACEPARENT.fullmatch(text) is None:
        return None
    _, trace_id, span_id, flags = text.split("-")
    found = Context(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return found if found.trace_id and found.span_id else None
