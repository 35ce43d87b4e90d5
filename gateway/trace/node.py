"""The spans of a batch on a node: sealed, encoded, in the spool, sent to each region, acknowledged.

    batch ─┬─ encode                 (root: from the sealing until the spool has it)
           ├─ append
           ├─ send REGION            one for each time it is sent, until the broker has taken or refused it
           └─ acknowledge REGION     from the first time it is sent until it is no longer in flight

The root's identity is that of the batch, so what is sent after a restart, or by a thread that knows only the stored
bytes, finds its parent in the header. Only batches that are sampled have one. Everything here is for one loop, but
`encoding` and `encoded`, which run in the encode threads.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from gateway.trace.context import Context, is_sampled, parsed, root_of
from gateway.trace.exporter import Exporter, chance_id
from gateway.trace.spans import Span

if TYPE_CHECKING:
    from gateway.config import schema
    from gateway.model import BatchId, OpenBatch, SealedBatch


class _Sealing(NamedTuple):
    root: Context
    sealed_ns: int
    start_ns: int
    end_ns: int
    links: tuple[Context, ...]
    readings: int
    size: int


class NodeTraces:
    """All spans of one flow; without `[trace]` it does nothing at all."""

    def __init__(self, options: schema.Trace | None, node: str) -> None:
        self._ratio = 0.0 if options is None else options.sample_ratio
        resource = {"service.name": "edge-gateway", "service.instance.id": node}
        self._exporter = None if options is None else Exporter(options, resource)
        self._sealing: dict[BatchId, _Sealing] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is anyone to hand spans to."""
        return self._exporter is not None

    def mark(self, batch: OpenBatch) -> None:
        """Let the header of a batch that is sampled name its root span."""
        if self._exporter is not None and not batch.traceparent:
            root = root_of(batch.id)
            if is_sampled(root, self._ratio):
                batch.traceparent = str(root)

    def encoding(self, batch: OpenBatch) -> int:
        """Return the time for `encoded`, 0 when the batch is not traced. In an encode thread."""
        return time.time_ns() if batch.traceparent else 0

    def encoded(self, batch: OpenBatch, sealed: SealedBatch, start_ns: int) -> None:
        """Note how long it took to encode a batch. In an encode thread."""
        if not start_ns:
            return
        links = tuple(one for one in map(parsed, batch.links) if one is not None)
        root, size = root_of(batch.id), len(sealed.data)
        self._sealing[batch.id] = _Sealing(root, batch.sealed_ns, start_ns, time.time_ns(), links, batch.readings, size)

    def spooled(self, identity: BatchId) -> None:
        """Hear that the spool has a batch."""
        found = self._sealing.pop(identity, None)
        if found is None or self._exporter is None:
            return
        now_ns = time.time_ns()
        about = {**_about(identity), "edge.readings": found.readings, "edge.bytes": found.size}
        root_id = found.root.span_id
        put = self._exporter.put
        put(Span("batch", found.root, 0, min(found.sealed_ns, found.start_ns), now_ns, about, links=found.links))
        put(Span("encode", self._child(found.root), root_id, found.start_ns, found.end_ns, _about(identity)))
        put(Span("append", self._child(found.root), root_id, found.end_ns, now_ns, _about(identity)))

    def status(self) -> dict[str, object]:
        """Return what became of the spans, for the status; nothing when there are none."""
        return {} if self._exporter is None else {"trace": self._exporter.status()}

    def close(self) -> None:
        """Export what waits, within two seconds."""
        if self._exporter is not None:
            self._exporter.close()

    def sent(self, parent: str, identity: BatchId, region: str, start_ns: int, fault: str) -> None:
        """Say that a batch was sent to a region since `start_ns`; `fault`: why the broker has not taken it."""
        self._about_region("send", parent, identity, region, start_ns, fault, "producer")

    def acknowledged(self, parent: str, identity: BatchId, region: str, start_ns: int, fault: str = "") -> None:
        """Say that a region has a batch that was first sent at `start_ns`, or never will."""
        self._about_region("acknowledge", parent, identity, region, start_ns, fault, "internal")

    def _about_region(
        self, name: str, parent: str, identity: BatchId, region: str, start_ns: int, fault: str, kind: str
    ) -> None:
        root = parsed(parent)
        if root is None or self._exporter is None:
            return
        about = {**_about(identity), "edge.region": region}
        self._exporter.put(
            Span(name, self._child(root), root.span_id, start_ns, time.time_ns(), about, kind=kind, fault=fault)
        )

    def _child(self, root: Context) -> Context:
        return Context(root.trace_id, chance_id())


def _about(identity: BatchId) -> dict[str, str | int | bool]:
    return {
        "edge.node": identity.node,
        "edge.lane": identity.lane,
        "edge.epoch": identity.epoch,
        "edge.sequence": identity.sequence,
    }
