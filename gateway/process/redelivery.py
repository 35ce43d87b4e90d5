"""Recognises messages that the broker sends again although the journal has them.

A message is acknowledged after it is journaled; when the connection dies in between, the broker does not know and
sends it again on the next one, with the DUP flag and the same packet id. So a flagged message on a connection that
resumed our session is a duplicate if an earlier connection brought the same topic and payload under the same packet
id, close enough to its end that the acknowledgement may not have arrived: among the last Receive Maximum messages,
because a broker never has more than that unacknowledged. Everything else is taken: the flag alone proves nothing.

On a live connection nothing is ever sent again, and when the session was lost, packet ids begin to name other
messages: then all is forgotten. Content is kept as a CRC-32, compared only under the same packet id.

Source: MQTT 5.0 sections 3.3.1.1 (DUP) and 4.4 (message delivery retry).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from gateway.model import DUPLICATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.model import MessageGroup

_FLAGGED: Final = frozenset(flags for flags in range(8) if flags & DUPLICATE)


class Redelivery:
    """Packet id → CRC of what it brought, of this connection (`_recent`, a dict a group) and of those before it."""

    def __init__(self, receive_maximum: int) -> None:
        self._receive_maximum = receive_maximum
        self._connection = 0
        self._earlier: dict[int, int] = {}
        self._recent: deque[dict[int, int]] = deque()
        self._recent_size = 0

    def duplicates(self, group: MessageGroup) -> set[int]:
        """Take note of a group, and return the indexes of its messages that an earlier group holds already."""
        if group.connection != self._connection:
            self._begin(group)
        if not any(group.packet_ids):
            return set()
        topics = map(crc32, map(str.encode, group.topics))
        marks = dict(zip(group.packet_ids, map(crc32, group.payloads, topics), strict=True))
        marks.pop(0, None)
        found: set[int] = set()
        if self._earlier and not _FLAGGED.isdisjoint(group.flags):
            for index, (packet_id, flags) in enumerate(zip(group.packet_ids, group.flags, strict=True)):
                if flags & DUPLICATE and packet_id and self._earlier.get(packet_id) == marks[packet_id]:
                    found.add(index)
        self._remember(marks)
        return found

    def _begin(self, group: MessageGroup) -> None:
        self._connection = group.connection
        if group.resumed:
            for marks in self._recent:
                for packet_id, mark in marks.items():
                    self._earlier.pop(packet_id, None)
                    self._earlier[packet_id] = mark
            # Twice: what was not sent again yet when a connection died may be followed by what was.
            for packet_id in list(self._earlier)[: -2 * self._receive_maximum]:
                del self._earlier[packet_id]
        else:
            self._earlier.clear()
        self._recent.clear()
        self._recent_size = 0

    def _remember(self, marks: dict[int, int]) -> None:
        recent = self._recent
        recent.append(marks)
        self._recent_size += len(marks)
        while self._recent_size - len(recent[0]) >= self._receive_maximum:
            self._recent_size -= len(recent.popleft())
            # A whole window has arrived on this connection: nothing of an earlier one is still to be sent again.
            self._earlier.clear()

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield the connection with the marks of those before it, then the marks of each recent group."""
        yield self._connection, self._earlier
        for marks in self._recent:
            yield (marks,)

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from a state, also one of another Receive Maximum."""
        for *connection, marks in records:
            if connection:
                (self._connection,) = connection
                self._earlier = dict(marks)
                self._recent.clear()
                self._recent_size = 0
            else:
                self._recent.append(dict(marks))
                self._recent_size += len(marks)
