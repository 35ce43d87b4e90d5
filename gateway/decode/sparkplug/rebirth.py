"""The command that asks an edge node to say again who it is: NCMD with `Node Control/Rebirth` = true.

Data, not deed: whoever runs the decoder publishes it, or does not.

Source: Sparkplug 3.0.0, sections 5.9 (case study of a rebirth) and 6.4.24 (NCMD); QoS 0, not retained, without a
sequence number.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.decode.sparkplug.payload import BOOLEAN, DATATYPE, NAME, PAYLOAD_METRIC, PAYLOAD_TIMESTAMP, TIMESTAMP
from gateway.decode.sparkplug.topic import NAMESPACE

METRIC: Final = "Node Control/Rebirth"
_BOOLEAN_TYPE: Final = 11
_MS_NS: Final = 1_000_000


class Request(NamedTuple):
    """A message to publish at QoS 0, not retained."""

    topic: str
    payload: bytes


def rebirth_request(group: str, edge: str, now_ns: int) -> Request:
    """Return the command to an edge node, dated `now_ns` (Unix time)."""
    name, now_ms = METRIC.encode(), _varint(max(now_ns // _MS_NS, 0))
    metric = bytes((NAME, len(name))) + name + bytes((TIMESTAMP,)) + now_ms
    metric += bytes((DATATYPE, _BOOLEAN_TYPE, BOOLEAN, 1))
    payload = bytes((PAYLOAD_TIMESTAMP,)) + now_ms + bytes((PAYLOAD_METRIC, len(metric))) + metric
    return Request(f"{NAMESPACE}/{group}/NCMD/{edge}", payload)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # what fits the last byte
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))
