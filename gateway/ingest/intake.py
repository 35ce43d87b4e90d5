"""Collects what reads of the socket brought until the journal takes it as one group.

Called inside the read, so it only appends to columns. A group never spans two connections: acknowledgements do not
cross them. What came at QoS 1 is bounded by the Receive Maximum (the broker stops sending); QoS 0 cannot be held
back, so past a limit it is shed and counted, and the count travels with the next group into the journal. Both are
bounded in bytes as well: past that QoS 0 is shed, and the socket is not read until half of it is gone. Where the node
is short of memory the same is done, see `gateway.memory`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.model import DUPLICATE, QOS1, RETAIN, MessageGroup
from gateway.trace.context import PROPERTY, parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqtt5 import PublishPacket

    from gateway.ingest.pace import Pace
    from gateway.transport.connection import Connection

SHED_OVERFLOW = "qos0_overflow"
SHED_MEMORY = "memory"
CONTEXTS_MAX: Final = 64
"""Messages of one group whose context is kept."""


class Pending:
    """The columns of one group in the making, and the connection whose acknowledgements it will need."""

    __slots__ = ("bytes", "came_at", "connection", "contexts", "due", "flags", "packet_ids", "payloads", "topics")

    def __init__(self, connection: Connection, came_at: float, due: float) -> None:
        self.connection = connection
        self.came_at = came_at
        self.due = due
        self.bytes = 0
        self.topics: list[str] = []
        self.payloads: list[bytes] = []
        self.packet_ids: list[int] = []
        self.flags: list[int] = []
        self.contexts: dict[int, str] = {}

    def acknowledgements(self) -> list[int]:
        """Return the packet ids that wait for PUBACK, in order of receipt."""
        return [number for number in self.packet_ids if number]


class Limits(NamedTuple):
    """Messages of QoS 0 and bytes of payload that may wait, and bytes that make a commit at once."""

    qos0_waiting_max: int
    waiting_bytes_max: int
    commit_bytes: int


class Intake:
    """What was received and is not journaled yet, oldest group first.

    `backlog` tells the messages that wait behind the journal, `patience_s` how long a message on a topic may wait for
    its commit; it is asked only while the `pace` is slow, or always where some topics are urgent.
    """

    def __init__(
        self,
        limits: Limits,
        backlog: Callable[[], int],
        pace: Pace,
        patience_s: Callable[[str], float],
        *,
        has_urgent: bool = False,
        is_traced: bool = False,
    ) -> None:
        self._limits = limits
        self._backlog = backlog
        self._pace = pace
        self._patience_s = patience_s
        self._has_urgent = has_urgent
        self._is_traced = is_traced
        self._bytes = 0
        self._held: Connection | None = None
        self._groups: list[Pending] = []
        self._shed: dict[str, int] = {}
        self._is_short = self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self.is_open = True
        self.changed = asyncio.Event()
        self.counts = {"reads": 0, "messages": 0, "payload_bytes": 0, "shed": 0, "holds": 0}

    def on_publishes(self, connection: Connection, packets: list[PublishPacket]) -> None:
        """Append everything that one read brought."""
        if not self.is_open:
            return
        if self._is_short:
            packets = self._without_qos0(packets, SHED_MEMORY)
        elif (
            self._waiting() + len(packets) > self._limits.qos0_waiting_max
            or self._bytes > self._limits.waiting_bytes_max
        ):
            packets = self._without_qos0(packets, SHED_OVERFLOW)
        if not packets:
            return
        last = self._groups[-1] if self._groups else None
        # A group that is large enough for a commit grows no further: it must fit a disk that is nearly full.
        if last is None or last.connection is not connection or last.bytes >= self._limits.commit_bytes:
            now = self._loop.time()
            self._groups.append(Pending(connection, now, now + self._pace.interval_s))
            self.changed.set()
        group = self._groups[-1]
        if self._has_urgent or self._pace.is_slow:
            self._hasten(group, packets)
        if self._is_traced:
            _note_contexts(group, packets)
        payloads = [packet.payload for packet in packets]
        group.topics += [packet.topic for packet in packets]
        group.payloads += payloads
        group.packet_ids += [packet.packet_id or 0 for packet in packets]
        group.flags += [
            (packet.retain and RETAIN) | (packet.duplicate and DUPLICATE) | (QOS1 if packet.packet_id else 0)
            for packet in packets
        ]
        size = sum(map(len, payloads))
        group.bytes += size
        self._bytes += size
        if (self._is_closed or self._bytes > self._limits.waiting_bytes_max) and self._held is not connection:
            self._held = connection
            connection.hold(is_held=True)
            self.counts["holds"] += 1
        self.counts["reads"] += 1
        self.counts["messages"] += len(packets)
        self.counts["payload_bytes"] += size
        if group.bytes >= self._limits.commit_bytes or connection.window_is_used_up:
            self.changed.set()

    def wait_s(self, now: float) -> float | None:
        """Return how long the oldest group may still wait for its commit, None when there is none."""
        if not self._groups:
            return None
        group = self._groups[0]
        if len(self._groups) > 1 or group.bytes >= self._limits.commit_bytes or group.connection.window_is_used_up:
            return 0.0
        return max(0.0, group.due - now)

    def take(self, wall_ns: int, at: int, clock: int) -> tuple[MessageGroup, Pending]:
        """Return the oldest group, made final, with what is needed to acknowledge it. There must be one."""
        pending = self._groups.pop(0)
        self._bytes -= pending.bytes
        self._read_again()
        shed, self._shed = self._shed, {}
        connection = pending.connection
        group = MessageGroup(
            wall_ns,
            at,
            clock,
            connection.number,
            connection.resumed,
            pending.topics,
            pending.payloads,
            pending.packet_ids,
            pending.flags,
            shed,
        )
        return group, pending

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for the journal."""
        return not self._groups

    def _hasten(self, group: Pending, packets: list[PublishPacket]) -> None:
        """Let the group be due as early as the least patient of these messages wants it."""
        due = self._loop.time() + min(map(self._patience_s, {packet.topic for packet in packets}))
        if due < group.due:
            group.due = due
            self.changed.set()

    def _waiting(self) -> int:
        return self._backlog() + sum(len(group.topics) for group in self._groups)

    def spare_memory(self, *, is_short: bool, is_holding: bool) -> None:
        """Shed QoS 0 while memory is short; while `is_holding` the broker is read no further than it was."""
        self._is_short, self._is_closed = is_short, is_holding
        self._read_again()

    def _read_again(self) -> None:
        """Read a connection that is held, when half of what may wait is gone and memory lets us."""
        if self._held is not None and not self._is_closed and self._bytes <= self._limits.waiting_bytes_max // 2:
            self._held.hold(is_held=False)
            self._held = None

    def _without_qos0(self, packets: list[PublishPacket], reason: str) -> list[PublishPacket]:
        kept = [packet for packet in packets if packet.packet_id is not None]
        shed = len(packets) - len(kept)
        if shed:
            self._shed[reason] = self._shed.get(reason, 0) + shed
            self.counts["shed"] += shed
        return kept


def _note_contexts(group: Pending, packets: list[PublishPacket]) -> None:
    """Keep the W3C contexts that sensors sent with these messages, a bounded number in a group."""
    for index, packet in enumerate(packets, len(group.topics)):
        properties = packet.user_properties
        if properties and len(group.contexts) < CONTEXTS_MAX:
            found = next((value for name, value in properties if name == PROPERTY), "")
            if found and parsed(found) is not None:
                group.contexts[index] = found
