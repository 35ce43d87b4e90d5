"""What a broker remembers: sessions, subscriptions, messages that wait, retained messages. No sockets, no clock.

A session outlives its connection (`Link`) until its expiry. QoS 1 messages wait in its queue, go out as far as the
client's Receive Maximum allows, and stay in flight until PUBACK; on a resumed session they go out again, in the same
order, under the same packet ids, flagged DUP. QoS 0 goes straight to the socket: it is not kept for a client that is
away, nor for one that does not read. A message for a shared subscription goes to one session of its group: in turn to
those that are connected and have room, else to one that is kept. Everything is bounded, and what is dropped is counted.

Time is an argument, in seconds of any steady clock: `expire(now)` does what has fallen due.

Source: MQTT 5.0 sections 3.3.4, 3.8.3, 3.8.4, 4.4, 4.8.2 and 4.9. Left out: message expiry.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import mqtt5

from gateway.process.topics import filter_fault, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

QUEUE_MESSAGES_MAX: Final = 200_000
QUEUE_BYTES_MAX: Final = 256 * 1024 * 1024
UNREAD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes that a socket has not taken yet, past which QoS 0 is dropped."""
RETAINED_MAX: Final = 10_000
SESSIONS_MAX: Final = 10_000
NEVER: Final = 0xFFFFFFFF
"""A session expiry interval that means for ever."""

_PACKET_IDS: Final = 65535


class Link(Protocol):
    """The connection of a session."""

    @property
    def unread_bytes(self) -> int:
        """Bytes that wait for the socket."""

    def send(self, data: bytes) -> None:
        """Write a packet."""

    def end(self, reason: mqtt5.DisconnectReasonCode) -> None:
        """Send DISCONNECT and close."""


class Delivery(NamedTuple):
    """A message on its way to one session."""

    message: mqtt5.PublishPacket
    qos: int
    retain: bool
    subscription_ids: tuple[int, ...]

    def encode(self, packet_id: int | None, *, duplicate: bool = False) -> bytes:
        """Return the PUBLISH."""
        message = self.message
        return mqtt5.PublishPacket(
            message.topic,
            message.payload,
            qos=mqtt5.QoS(self.qos),
            retain=self.retain,
            packet_id=packet_id,
            duplicate=duplicate,
            payload_format_indicator=message.payload_format_indicator,
            content_type=message.content_type,
            response_topic=message.response_topic,
            correlation_data=message.correlation_data,
            subscription_ids=list(self.subscription_ids),
            user_properties=message.user_properties,
        ).write()


class Subscription(NamedTuple):
    """What a session asked for under one topic filter; `group` is empty unless it is shared."""

    group: str
    pattern: str
    options: mqtt5.TopicFilter
    subscription_id: int | None


@dataclass(slots=True, eq=False)
class Session:
    """One client, connected or away. `away_since` counts while it has no link."""

    client_id: str
    counts: Counter[str]
    expiry_s: float = 0.0
    link: Link | None = None
    away_since: float = 0.0
    will: mqtt5.Will | None = None
    will_at: float = inf
    receive_maximum: int = _PACKET_IDS
    packet_bytes_max: int | None = None
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    in_flight: dict[int, Delivery] = field(default_factory=dict)
    queue: deque[Delivery] = field(default_factory=deque)
    queue_bytes: int = 0
    last_id: int = 0

    @property
    def has_room(self) -> bool:
        """Whether a QoS 1 message would leave at once."""
        return self.link is not None and len(self.in_flight) < self.receive_maximum

    def deliver(self, delivery: Delivery) -> None:
        """Send the message now, or keep it, or drop it by rule."""
        if delivery.qos == 0:
            self._deliver_qos0(delivery)
            return
        size = len(delivery.message.payload)
        if len(self.queue) >= QUEUE_MESSAGES_MAX or self.queue_bytes + size > QUEUE_BYTES_MAX:
            self.counts["dropped_queue_full"] += 1
            return
        self.queue.append(delivery)
        self.queue_bytes += size
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send what the client's Receive Maximum allows."""
        while self.queue and self.link is not None and len(self.in_flight) < self.receive_maximum:
            delivery = self.queue.popleft()
            self.queue_bytes -= len(delivery.message.payload)
            packet_id = self._next_id()
            data = delivery.encode(packet_id)
            if self._fits(data):
                self.in_flight[packet_id] = delivery
                self.link.send(data)
                self.counts["delivered_qos1"] += 1

    def acknowledge(self, packet_id: int) -> None:
        """Take a PUBACK, whatever its reason: the message is done."""
        if self.in_flight.pop(packet_id, None) is not None:
            self.counts["acknowledged"] += 1
            self.send_waiting()

    def resume(self) -> None:
        """Send again what a connection that died left in flight, then what waits."""
        assert self.link is not None
        for packet_id, delivery in self.in_flight.items():
            self.link.send(delivery.encode(packet_id, duplicate=True))
            self.counts["redelivered"] += 1
        self.send_waiting()

    def _deliver_qos0(self, delivery: Delivery) -> None:
        if self.link is None:
            self.counts["qos0_client_away"] += 1
        elif self.link.unread_bytes > UNREAD_BYTES_MAX:
            self.counts["dropped_qos0_unread"] += 1
        elif self._fits(data := delivery.encode(None)):
            self.link.send(data)
            self.counts["delivered_qos0"] += 1

    def _fits(self, data: bytes) -> bool:
        if self.packet_bytes_max is None or len(data) <= self.packet_bytes_max:
            return True
        self.counts["dropped_too_large"] += 1
        return False

    def _next_id(self) -> int:
        while True:
            self.last_id = self.last_id % _PACKET_IDS + 1
            if self.last_id not in self.in_flight:
                return self.last_id


class Sessions:
    """All sessions and retained messages of one broker; `counts` says what became of messages."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._sessions: dict[str, Session] = {}
        self._retained: dict[str, mqtt5.PublishPacket] = {}
        self._turns: Counter[tuple[str, str]] = Counter()

    def open(self, client_id: str, connect: mqtt5.ConnectPacket, link: Link) -> tuple[Session, bool] | None:
        """Give `link` its session, and say whether it was there before; None when there is no room for another.

        A connection that holds the session is ended. Call `resume` of the session after CONNACK.
        """
        session = self._sessions.get(client_id)
        if session is not None and session.link is not None:
            old, session.link = session.link, None
            old.end(mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
            self._publish_will(session)
        if session is not None and (connect.clean_start or session.expiry_s == 0):
            self._end(session)
            session = None
        present = session is not None
        if session is None:
            if len(self._sessions) >= SESSIONS_MAX:
                return None
            session = self._sessions[client_id] = Session(client_id, self.counts)
        session.link = link
        session.expiry_s = _seconds(connect.session_expiry_interval)
        session.receive_maximum = connect.receive_max
        session.packet_bytes_max = connect.max_packet_size
        session.will, session.will_at = connect.will, inf
        return session, present

    def leave(self, session: Session, link: Link, now: float, *, keep_will: bool, expiry_s: int | None = None) -> None:
        """Note that `link` is gone; nothing when another connection has the session by now."""
        if session.link is not link:
            return
        session.link = None
        session.away_since = now
        if expiry_s is not None:
            session.expiry_s = _seconds(expiry_s)
        if not keep_will:
            session.will = None
        if session.will is not None:
            session.will_at = now + min(session.will.will_delay_interval, session.expiry_s)
        self.expire(now)

    def expire(self, now: float) -> None:
        """Publish wills that are due and end sessions that were away too long."""
        for session in [one for one in self._sessions.values() if one.link is None]:
            if now >= session.will_at:
                self._publish_will(session)
            if now >= session.away_since + session.expiry_s:
                self._end(session)

    def publish(self, message: mqtt5.PublishPacket, publisher: str = "") -> bool:
        """Hand a message to every session that subscribes to its topic; False when there is none."""
        self.counts[f"received_qos{int(message.qos)}"] += 1
        if message.retain:
            self._retain(message)
        shared: dict[tuple[str, str], list[tuple[Session, Subscription]]] = {}
        found = False
        for session in self._sessions.values():
            taken = []
            for one in session.subscriptions.values():
                if not matches(one.pattern, message.topic):
                    continue
                if one.group:
                    shared.setdefault((one.group, one.pattern), []).append((session, one))
                elif not (one.options.no_local and session.client_id == publisher):
                    taken.append(one)
            if taken:
                found = True
                session.deliver(_delivery(message, taken))
        for group, members in shared.items():
            session, one = self._chosen(group, members)
            session.deliver(_delivery(message, [one]))
        if not found and not shared:
            self.counts["unmatched"] += 1
        return found or bool(shared)

    def subscribe(self, session: Session, packet: mqtt5.SubscribePacket) -> Iterator[mqtt5.SubAckReasonCode]:
        """Add the subscriptions and yield the answer to each; call `send_retained` after SUBACK."""
        for options in packet.topic_filters:
            group, pattern = _shared(options.pattern)
            if filter_fault(pattern) or (group and options.no_local) or group is None:
                yield mqtt5.SubAckReasonCode.TOPIC_FILTER_INVALID
                continue
            known = options.pattern in session.subscriptions
            session.subscriptions[options.pattern] = Subscription(group, pattern, options, packet.subscription_id)
            if not group and _wants_retained(options, known=known):
                self._send_retained(session, session.subscriptions[options.pattern])
            yield mqtt5.SubAckReasonCode(min(int(options.max_qos), 1))

    def unsubscribe(self, session: Session, patterns: Iterable[str]) -> Iterator[mqtt5.UnsubAckReasonCode]:
        """Remove the subscriptions and yield the answer to each."""
        for pattern in patterns:
            known = session.subscriptions.pop(pattern, None) is not None
            codes = mqtt5.UnsubAckReasonCode
            yield codes.SUCCESS if known else codes.NO_SUBSCRIPTION_EXISTED

    def status(self) -> dict[str, dict[str, int | bool]]:
        """Return, for each client that subscribes to something, what it holds up."""
        return {
            session.client_id: {
                "connected": session.link is not None,
                "waiting": len(session.queue),
                "in_flight": len(session.in_flight),
            }
            for session in self._sessions.values()
            if session.subscriptions
        }

    def _chosen(
        self, group: tuple[str, str], members: list[tuple[Session, Subscription]]
    ) -> tuple[Session, Subscription]:
        self._turns[group] += 1
        turn = self._turns[group]
        connected = [member for member in members if member[0].link is not None]
        ready = [member for member in connected if member[0].has_room]
        best = ready or connected or members
        return best[turn % len(best)]

    def _retain(self, message: mqtt5.PublishPacket) -> None:
        if not message.payload:
            self._retained.pop(message.topic, None)
        elif message.topic in self._retained or len(self._retained) < RETAINED_MAX:
            self._retained[message.topic] = message
        else:
            self.counts["dropped_retained"] += 1

    def _send_retained(self, session: Session, one: Subscription) -> None:
        for message in self._retained.values():
            if matches(one.pattern, message.topic):
                session.deliver(_delivery(message, [one])._replace(retain=True))

    def _publish_will(self, session: Session) -> None:
        will, session.will, session.will_at = session.will, None, inf
        if will is None:
            return
        self.publish(
            mqtt5.PublishPacket(
                will.topic,
                will.payload or b"",
                qos=mqtt5.QoS(min(int(will.qos), 1)),
                retain=will.retain,
                packet_id=1 if will.qos else None,
                content_type=will.content_type,
                user_properties=will.user_properties,
            )
        )

    def _end(self, session: Session) -> None:
        self._publish_will(session)
        if session.queue or session.in_flight:
            self.counts["dropped_session_ended"] += len(session.queue) + len(session.in_flight)
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]


def _delivery(message: mqtt5.PublishPacket, taken: list[Subscription]) -> Delivery:
    """One copy for a session, at the highest QoS and with the ids of all its subscriptions that match."""
    return Delivery(
        message,
        min(int(message.qos), max(int(one.options.max_qos) for one in taken)),
        message.retain and any(one.options.retain_as_published for one in taken),
        tuple(one.subscription_id for one in taken if one.subscription_id is not None),
    )


def _shared(pattern: str) -> tuple[str | None, str]:
    """Return (share group, topic filter); the group is empty when it is not shared, None when it is not valid."""
    if not pattern.startswith("$share/"):
        return "", pattern
    _, group, inner = [*pattern.split("/", 2), ""][:3]
    is_valid = bool(group and inner) and not set(group) & {"+", "#"}
    return (group if is_valid else None), inner


def _wants_retained(options: mqtt5.TopicFilter, *, known: bool) -> bool:
    handling = options.retain_handling
    if handling == mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS:
        return not known
    return handling == mqtt5.RetainHandling.SEND_ALWAYS


def _seconds(interval: int) -> float:
    return inf if interval == NEVER else float(interval)
