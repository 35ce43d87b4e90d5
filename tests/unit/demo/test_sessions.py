"""What the broker of the demo remembers, without sockets: queues, redelivery, shares, retained messages, wills."""

from __future__ import annotations

import mqtt5
import pytest

from gateway.demo import sessions as module
from gateway.demo.sessions import NEVER, Session, Sessions

QOS1 = mqtt5.QoS.AT_LEAST_ONCE


class NotedLink:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.packets: list[mqtt5.PublishPacket] = []
        self.ended: mqtt5.DisconnectReasonCode | None = None
        self.unread_bytes = 0

    def send(self, data: bytes) -> None:
        self.packets.append(mqtt5.read(memoryview(data))[0])

    def end(self, reason: mqtt5.DisconnectReasonCode) -> None:
        self.ended = reason

    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.packets]

    def ids(self) -> list[int | None]:
        return [packet.packet_id for packet in self.packets]


def connected(sessions: Sessions, client_id: str = "c", **options) -> tuple[Session, NotedLink]:
    link = NotedLink()
    opened = sessions.open(
        client_id, mqtt5.ConnectPacket(client_id, session_expiry_interval=options.pop("expiry", 60), **options), link
    )
    assert opened is not None
    opened[0].resume()
    return opened[0], link


def subscribe(sessions: Sessions, session: Session, *patterns: str, **options) -> list[mqtt5.SubAckReasonCode]:
    filters = [mqtt5.TopicFilter(pattern, **options) for pattern in patterns]
    return list(sessions.subscribe(session, mqtt5.SubscribePacket(1, filters)))


def message(topic: str = "a/b", payload: bytes = b"1", qos: int = 1, *, retain: bool = False) -> mqtt5.PublishPacket:
    return mqtt5.PublishPacket(
        topic, payload, qos=mqtt5.QoS(qos), packet_id=9 if qos else None, retain=retain, content_type="x"
    )


def test_a_message_goes_out_as_far_as_receive_maximum_allows() -> None:
    sessions = Sessions()
    session, link = connected(sessions, receive_max=2)
    subscribe(sessions, session, "a/#")
    for number in range(4):
        assert sessions.publish(message(payload=b"%d" % number))
    assert link.payloads() == [b"0", b"1"]
    session.acknowledge(1)
    session.acknowledge(77)
    assert (link.payloads(), link.ids()) == ([b"0", b"1", b"2"], [1, 2, 3])
    assert sessions.counts["acknowledged"] == 1


def test_what_was_in_flight_comes_again_first_flagged_and_under_the_same_ids() -> None:
    sessions = Sessions()
    session, link = connected(sessions, receive_max=2)
    subscribe(sessions, session, "a/#")
    for number in range(3):
        sessions.publish(message(payload=b"%d" % number))
    sessions.leave(session, link, 0.0, keep_will=True)
    sessions.publish(message(payload=b"3"))
    sessions.publish(message(payload=b"lost", qos=0))
    again, new = connected(sessions, receive_max=3)
    assert again is session
    assert [(packet.payload, packet.packet_id, packet.duplicate) for packet in new.packets] == [
        (b"0", 1, True),
        (b"1", 2, True),
        (b"2", 3, False),
    ]
    assert sessions.counts["qos0_client_away"] == 1


def test_a_session_ends_with_its_expiry_and_with_a_clean_start() -> None:
    sessions = Sessions()
    session, link = connected(sessions, expiry=5)
    subscribe(sessions, session, "a/#")
    sessions.leave(session, link, 100.0, keep_will=False)
    sessions.expire(104.9)
    assert sessions.publish(message())
    sessions.expire(105.0)
    assert not sessions.publish(message())
    assert sessions.counts["dropped_session_ended"] == 1
    session, link = connected(sessions, expiry=NEVER)
    sessions.leave(session, link, 0.0, keep_will=False)
    sessions.expire(1e12)
    assert connected(sessions, expiry=NEVER)[0] is session
    assert connected(sessions, clean_start=True)[0] is not session


def test_a_second_connection_takes_the_session_over() -> None:
    sessions = Sessions()
    session, old = connected(sessions)
    again, new = connected(sessions)
    assert again is session
    assert old.ended == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
    sessions.leave(session, old, 0.0, keep_will=True)
    assert session.link is new


def test_a_full_queue_drops_and_counts(monkeypatch) -> None:
    monkeypatch.setattr(module, "QUEUE_MESSAGES_MAX", 2)
    sessions = Sessions()
    session, link = connected(sessions)
    subscribe(sessions, session, "a/#")
    sessions.leave(session, link, 0.0, keep_will=True)
    for _ in range(3):
        sessions.publish(message())
    assert sessions.counts["dropped_queue_full"] == 1
    assert sessions.status() == {"c": {"connected": False, "waiting": 2, "in_flight": 0}}


def test_qos_0_is_dropped_for_a_client_that_does_not_read() -> None:
    sessions = Sessions()
    session, link = connected(sessions)
    subscribe(sessions, session, "a/#")
    link.unread_bytes = module.UNREAD_BYTES_MAX + 1
    sessions.publish(message(qos=0))
    assert (link.packets, sessions.counts["dropped_qos0_unread"]) == ([], 1)


def test_a_packet_larger_than_the_client_takes_is_dropped_and_does_not_wedge_the_window() -> None:
    sessions = Sessions()
    session, link = connected(sessions, receive_max=1, max_packet_size=100)
    subscribe(sessions, session, "a/#")
    sessions.publish(message(payload=bytes(200)))
    sessions.publish(message(payload=b"small"))
    assert (link.payloads(), sessions.counts["dropped_too_large"]) == ([b"small"], 1)


def test_a_shared_subscription_takes_turns_and_prefers_who_has_room() -> None:
    sessions = Sessions()
    links = []
    for name in ("one", "two", "all"):
        session, link = connected(sessions, name, receive_max=3)
        subscribe(sessions, session, "$share/g/a/+" if name != "all" else "a/+")
        links.append(link)
    for _ in range(8):
        sessions.publish(message())
    assert [len(link.packets) for link in links] == [3, 3, 3]
    one = sessions._sessions["one"]
    sessions.leave(one, links[0], 0.0, keep_will=False)
    for number in list(sessions._sessions["two"].in_flight):
        sessions._sessions["two"].acknowledge(number)
    sessions.publish(message())
    assert len(links[0].packets) == 3
    assert sessions.counts["unmatched"] == 0


@pytest.mark.parametrize("pattern", ["", "$share/g", "$share//a", "$share/+/a", "$share/g/"])
def test_a_filter_that_is_not_valid_is_refused(pattern) -> None:
    sessions = Sessions()
    session, _ = connected(sessions)
    assert subscribe(sessions, session, pattern, "good/#") == [
        mqtt5.SubAckReasonCode.TOPIC_FILTER_INVALID,
        mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
    ]


def test_overlapping_subscriptions_bring_one_copy_at_the_highest_qos() -> None:
    sessions = Sessions()
    session, link = connected(sessions)
    subscribe(sessions, session, "a/#", max_qos=mqtt5.QoS.AT_MOST_ONCE)
    subscribe(sessions, session, "a/b", max_qos=QOS1)
    sessions.publish(message())
    sessions.publish(message("a/c"))
    assert [(packet.topic, packet.qos, packet.content_type) for packet in link.packets] == [
        ("a/b", 1, "x"),
        ("a/c", 0, "x"),
    ]


def test_retained_messages_come_with_a_subscription_as_it_asks() -> None:
    sessions = Sessions()
    sessions.publish(message("a/b", b"old", retain=True))
    sessions.publish(message("a/b", b"new", retain=True))
    sessions.publish(message("a/gone", b"x", retain=True))
    sessions.publish(message("a/gone", b"", retain=True))
    session, link = connected(sessions)
    subscribe(sessions, session, "$share/g/a/#")
    subscribe(sessions, session, "a/#", retain_handling=mqtt5.RetainHandling.SEND_NEVER)
    assert link.packets == []
    for _ in range(2):
        subscribe(sessions, session, "a/+", retain_handling=mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS)
    assert [(packet.payload, packet.retain) for packet in link.packets] == [(b"new", True)]
    assert list(sessions.unsubscribe(session, ["a/+", "never"])) == [
        mqtt5.UnsubAckReasonCode.SUCCESS,
        mqtt5.UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED,
    ]


def test_a_will_is_published_after_its_delay_unless_the_client_said_goodbye_or_came_back() -> None:
    sessions = Sessions()
    watcher, link = connected(sessions, "watcher")
    subscribe(sessions, watcher, "gone/#")
    will = mqtt5.Will("gone/c", payload=b"bye", qos=QOS1, will_delay_interval=3)
    session, its = connected(sessions, will=will)
    sessions.leave(session, its, 10.0, keep_will=True)
    sessions.expire(12.9)
    session, its = connected(sessions, will=will)
    sessions.leave(session, its, 20.0, keep_will=False)
    sessions.expire(60.0)
    session, its = connected(sessions, will=will)
    sessions.leave(session, its, 61.0, keep_will=True)
    assert link.packets == []
    sessions.expire(64.0)
    assert link.payloads() == [b"bye"]


def test_no_local_keeps_a_clients_own_messages_from_it() -> None:
    sessions = Sessions()
    session, link = connected(sessions)
    subscribe(sessions, session, "a/#", no_local=True)
    assert not sessions.publish(message(), "c")
    assert sessions.publish(message(), "other")
    assert len(link.packets) == 1
