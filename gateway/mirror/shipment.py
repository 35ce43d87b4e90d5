"""What a batch or a gap is to a transport. Pure.

In the format `batch` it is one message in CloudEvents binary mode, its envelope the data; in the format `events` one
message for each event that it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.batch import envelope
from gateway.batch import gap as gap_format
from gateway.batch.decode import decode
from gateway.events import cloud_event
from gateway.events.choice import encoding
from gateway.events.cloud_event import Shape
from gateway.model import SealedBatch
from gateway.transport.contract import Message

if TYPE_CHECKING:
    from gateway.config import schema
    from gateway.model import Gap

BATCH_TYPE: Final = "io.edge-gateway.batch.v1"
GAP_TYPE: Final = "io.edge-gateway.gap.v1"
CONTENT_TYPE: Final = "application/vnd.edge-gateway.batch"


class Shipper:
    """Makes messages in the format that a region, or whoever else gets them, is configured for.

    Raises `ConfigError` when that needs an extra of the package that is not installed.
    """

    def __init__(self, peer: schema.Peer) -> None:
        options = peer.events
        self._shape: Shape | None = None
        if peer.format == "events":
            self._shape = Shape(encoding(options), options.of == "reading", options.mode == "binary")

    @property
    def is_whole(self) -> bool:
        """Whether a batch is one message: refused, a gap takes its place."""
        return self._shape is None

    def messages(self, found: SealedBatch | Gap, *, is_backlog: bool) -> list[Message]:
        """Return the messages for a batch or a gap, in their order. Raises `BatchError` for one that is damaged."""
        if self._shape is None:
            return [message(found, is_backlog=is_backlog)]
        held = decode(found.data) if isinstance(found, SealedBatch) else found
        return cloud_event.messages(held, self._shape, is_backlog=is_backlog)


def message(found: SealedBatch | Gap, *, is_backlog: bool = False) -> Message:
    """Return the message for a batch or a gap; its identity is the same at each resend.

    Backlog, which newer batches have passed, is marked by the attribute `backlog`.
    """
    if isinstance(found, SealedBatch):
        node, lane = found.id.node, found.id.lane
        identity, kind, data = str(found.id), BATCH_TYPE, found.data
        traceparent = envelope.traceparent_of(data)
    else:
        node, lane = found.node, found.lane
        identity = f"{node}/{lane}/{found.epoch}/{found.first}-{found.last}"
        kind, data, traceparent = GAP_TYPE, gap_format.encode(found), ""
    attributes = {
        "specversion": "1.0",
        "id": identity,
        "source": f"/edge-gateway/{node}",
        "type": kind,
        "subject": lane,
        "datacontenttype": CONTENT_TYPE,
    }
    if is_backlog:
        attributes["backlog"] = "true"
    if traceparent:
        attributes["traceparent"] = traceparent
    return Message(identity, node, lane, node, CONTENT_TYPE, data, attributes)
