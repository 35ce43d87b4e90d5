"""A connection to the local broker that only notes what the gateway does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt5

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotedConnection:
    """Has what ingest uses of a connection: identity, window, acknowledgements."""

    def __init__(self, number: int = 1, *, resumed: bool = False, receive_maximum: int = 100) -> None:
        self.number = number
        self.resumed = resumed
        self.is_open = True
        self.acknowledged: list[int] = []
        self.is_held = False
        self._receive_maximum = receive_maximum
        self._unacknowledged = 0

    def sends(self, count: int, *, qos: int = 1, first: int = 1, payload: bytes = b"1") -> list[mqtt5.PublishPacket]:
        """Return what one read brings: `count` messages with rising packet ids."""
        if not qos:
            return [mqtt5.PublishPacket("plant/a", payload)] * count
        self._unacknowledged += count
        return [
            mqtt5.PublishPacket("plant/a", payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number)
            for number in range(first, first + count)
        ]

    @property
    def window_is_used_up(self) -> bool:
        """Whether the peer may send nothing more."""
        return self._unacknowledged >= self._receive_maximum

    def hold(self, *, is_held: bool) -> None:
        """Note whether the socket is read."""
        self.is_held = is_held

    def acknowledge(self, packet_ids: Sequence[int]) -> bool:
        """Note the PUBACKs."""
        if not self.is_open:
            return False
        self._unacknowledged -= len(packet_ids)
        self.acknowledged += packet_ids
        return True
