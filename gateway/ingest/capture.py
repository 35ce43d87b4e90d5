"""Records what sensors publish, in the form of a journal, for `gateway replay`.

It is a client of its own with a session that ends with it, so the daemon loses nothing by it. What is recorded is
bounded by messages, bytes and time; a bound that is reached ends it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from gateway.config import schema
from gateway.journal.writer import JournalWriter
from gateway.model import CLOCK_SYNCHRONISED, QOS1, RETAIN, MessageGroup
from gateway.transport.subscriber import Subscriber

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    import mqtt5

    from gateway.clock import Clock
    from gateway.disk import Disk
    from gateway.transport.connection import Connection
    from gateway.transport.subscriber import SubscriberOptions

_GROUP_S = 0.2
_FILE_BYTES = 4 << 20


class Bounds(NamedTuple):
    """Where a capture ends."""

    messages: int
    payload_bytes: int
    seconds: float


class Captured(NamedTuple):
    """What was recorded."""

    messages: int
    payload_bytes: int


def client_id_of(node: str) -> str:
    """Return the client id of a capture beside the daemon of `node`."""
    return f"edge-gateway-{node}-capture-{os.getpid()}"


class Capture:
    """One recording into `folder`, which holds no journal yet."""

    def __init__(self, disk: Disk, clock: Clock, folder: Path, bounds: Bounds) -> None:
        self._clock = clock
        self._bounds = bounds
        self._journal = JournalWriter(disk, folder, schema.Journal(segment_bytes=_FILE_BYTES), 0)
        self._began_at = clock.monotonic_ns()
        self._waiting: list[mqtt5.PublishPacket] = []
        self._messages = self._payload_bytes = 0
        self._is_full = asyncio.Event()

    async def run(self, options: SubscriberOptions, chance: random.Random, advance: Callable[[int], None]) -> Captured:
        """Record until a bound is reached; `advance` is told how many messages. Raises `StoreError`.

        A broker that cannot be reached is tried again until the time is over.
        """
        subscriber = Subscriber(options, self._on_publishes, chance)
        session = asyncio.create_task(subscriber.run(), name="capture")
        try:
            async with asyncio.timeout(self._bounds.seconds):
                while not self._is_full.is_set():
                    await asyncio.sleep(_GROUP_S)
                    self._write(advance)
        except TimeoutError:
            pass
        finally:
            session.cancel()
            await asyncio.wait({session})
        self._write(advance)
        self._journal.close()
        return Captured(self._messages, self._payload_bytes)

    def _on_publishes(self, connection: Connection, packets: list[mqtt5.PublishPacket]) -> None:
        for packet in packets:
            if self._is_full.is_set():
                break
            self._messages += 1
            self._payload_bytes += len(packet.payload)
            self._waiting.append(packet)
            if self._messages >= self._bounds.messages or self._payload_bytes >= self._bounds.payload_bytes:
                self._is_full.set()
        connection.acknowledge([packet.packet_id for packet in packets if packet.packet_id is not None])

    def _write(self, advance: Callable[[int], None]) -> None:
        packets, self._waiting = self._waiting, []
        if not packets:
            return
        group = MessageGroup(
            self._clock.wall_ns(),
            self._clock.monotonic_ns() - self._began_at,
            CLOCK_SYNCHRONISED,
            1,
            False,
            [packet.topic for packet in packets],
            [packet.payload for packet in packets],
            [0] * len(packets),
            [(RETAIN if packet.retain else 0) | (QOS1 if packet.packet_id is not None else 0) for packet in packets],
            {},
        )
        self._journal.commit([group])
        advance(len(packets))
