"""What a batch or a gap is to a transport: one message in CloudEvents binary mode, its envelope the data. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.batch import gap as gap_format
from gateway.model import SealedBatch
from gateway.transport.contract import Message

if TYPE_CHECKING:
    from gateway.model import Gap

BATCH_TYPE: Final = "io.edge-gateway.batch.v1"
GAP_TYPE: Final = "io.edge-gateway.gap.v1"
CONTENT_TYPE: Final = "application/vnd.edge-gateway.batch"


def message(found: SealedBatch | Gap, *, is_backlog: bool = False) -> Message:
    """Return the message for a batch or a gap; its identity is the same at each resend.

    Backlog, which newer batches have passed, is marked by the attribute `backlog`.
    """
    if isinstance(found, SealedBatch):
        node, lane = found.id.node, found.id.lane
        identity, kind, data = str(found.id), BATCH_TYPE, found.data
    else:
        node, lane = found.node, found.lane
        identity = f"{node}/{lane}/{found.epoch}/{found.first}-{found.last}"
        kind, data = GAP_TYPE, gap_format.encode(found)
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
    return Message(identity, node, lane, node, CONTENT_TYPE, data, attributes)
