"""What one region's sender tells of batches that are traced: each time one is sent, and when it has arrived.

Bounded by what is in flight. A batch that goes into a gap, because it was refused, ends with that as its fault.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from gateway.batch import envelope
from gateway.model import SealedBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.mirror.session import Session
    from gateway.model import BatchId, Gap
    from gateway.trace.node import NodeTraces
    from gateway.transport.contract import Refusal


class _Sent(NamedTuple):
    identity: BatchId
    parent: str
    first_ns: int


class Trail:
    """The batches of one region that are on their way."""

    def __init__(self, region: str, traces: NodeTraces, session: Session) -> None:
        self._region = region
        self._traces = traces
        self._session = session
        self._sent: dict[tuple[str, int], _Sent] = {}

    def sending(self, found: SealedBatch | Gap) -> int:
        """Hear that something is sent now; return the time for `sent`, 0 when it is not traced."""
        now_ns = time.time_ns()
        if not isinstance(found, SealedBatch):
            self._sent.pop((found.lane, found.first), None)
            return 0
        parent = envelope.traceparent_of(found.data)
        if not parent:
            return 0
        key = found.id.lane, found.id.sequence
        known = self._sent.get(key)
        self._sent[key] = _Sent(found.id, parent, now_ns if known is None else known.first_ns)
        return now_ns

    def sent(self, found: SealedBatch | Gap, start_ns: int, refusals: Sequence[Refusal] | None) -> None:
        """Hear that what was sent is taken, refused, or (None) lost with its link."""
        known = self._sent.get((found.id.lane, found.id.sequence)) if isinstance(found, SealedBatch) else None
        if not start_ns or known is None:
            return
        fault = "the link ended" if refusals is None else refusals[0].reason if refusals else ""
        self._traces.sent(known.parent, known.identity, self._region, start_ns, fault)

    def moved(self) -> None:
        """Tell of what is no longer in flight."""
        done = [key for key in self._sent if not self._session.is_in_flight(*key)]
        for key in done:
            known = self._sent.pop(key)
            self._traces.acknowledged(known.parent, known.identity, self._region, known.first_ns)

    def given_up(self, found: SealedBatch | Gap, reason: str) -> None:
        """Hear that a batch is parked: the region gets a gap instead."""
        known = self._sent.pop((found.id.lane, found.id.sequence), None) if isinstance(found, SealedBatch) else None
        if known is not None:
            self._traces.acknowledged(known.parent, known.identity, self._region, known.first_ns, f"parked: {reason}")
