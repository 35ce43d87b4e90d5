"""The spans of a batch at a receiver: the trace that the node began goes on.

    receive ── commit ── sink NAME, one for each

Its parent is the span in the batch's header. Batches that were committed together have the same times: a transaction is
theirs in common. Only what was written has spans; a batch that was known already has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.trace.context import Context, parsed
from gateway.trace.exporter import Exporter, chance_id
from gateway.trace.spans import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.batch.envelope import Header
    from gateway.config import schema


class Stretch(NamedTuple):
    """From when to when something took, in wall time."""

    start_ns: int
    end_ns: int


class ReceiverTraces:
    """All spans of one receiver."""

    def __init__(self, options: schema.Trace, receiver: str) -> None:
        resource = {"service.name": "edge-region", "service.instance.id": receiver}
        self._exporter = Exporter(options, resource)

    def committed(
        self,
        headers: Iterable[Header],
        receive: Stretch,
        commit: Stretch,
        sinks: Sequence[tuple[str, Stretch]],
    ) -> None:
        """Say that batches with these headers are durable."""
        for header in headers:
            root = parsed(header.traceparent)
            if root is None or not root.is_sampled:
                continue
            identity = header.id
            about: dict[str, str | int | bool] = {
                "edge.node": identity.node,
                "edge.lane": identity.lane,
                "edge.epoch": identity.epoch,
                "edge.sequence": identity.sequence,
                "edge.readings": header.readings,
            }
            receiving, committing = (Context(root.trace_id, chance_id()) for _ in range(2))
            put = self._exporter.put
            put(Span("receive", receiving, root.span_id, *receive, about, kind="consumer"))
            put(Span("commit", committing, receiving.span_id, *commit, about))
            for name, taken in sinks:
                context = Context(root.trace_id, chance_id())
                put(Span(f"sink {name}", context, committing.span_id, *taken, about))

    def status(self) -> dict[str, int]:
        """Return what became of the spans."""
        return self._exporter.status()

    def close(self) -> None:
        """Export what waits, within two seconds."""
        self._exporter.close()
