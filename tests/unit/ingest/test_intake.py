"""What a read brought becomes groups; QoS 0 is shed by rule; a group never spans two connections."""

from __future__ import annotations

import mqtt5

from gateway.ingest.intake import Intake, Limits
from gateway.ingest.pace import Pace
from gateway.model import DUPLICATE, QOS1, RETAIN
from tests.support.links import NotedConnection


def intake(qos0_waiting_max: int = 10, commit_bytes: int = 1000, backlog: int = 0) -> Intake:
    """Return an empty intake behind which `backlog` messages wait."""
    return Intake(Limits(qos0_waiting_max, 1 << 20, commit_bytes), lambda: backlog, Pace(100.0, 100.0), lambda _: 0.0)


async def test_a_group_keeps_the_order_of_receipt_and_every_flag() -> None:
    link, waiting = NotedConnection(7, resumed=True), intake()
    packet = mqtt5.PublishPacket("b", b"2", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=9, retain=True, duplicate=True)
    waiting.on_publishes(link, [mqtt5.PublishPacket("a", b"1")])
    waiting.on_publishes(link, [packet])
    group, pending = waiting.take(11, 12, 2)
    assert (group.topics, group.payloads, group.packet_ids) == (["a", "b"], [b"1", b"2"], [0, 9])
    assert group.flags == [0, RETAIN | DUPLICATE | QOS1]
    assert (group.wall_ns, group.at, group.clock, group.connection, group.resumed) == (11, 12, 2, 7, True)
    assert pending.acknowledgements() == [9]
    assert waiting.is_empty


async def test_groups_of_two_connections_are_never_mixed() -> None:
    old, new, waiting = NotedConnection(1), NotedConnection(2), intake()
    waiting.on_publishes(old, old.sends(2))
    waiting.on_publishes(new, new.sends(3))
    assert waiting.wait_s(0.0) == 0.0
    first, second = waiting.take(1, 1, 2), waiting.take(1, 1, 2)
    assert (first[0].connection, len(first[0].topics), first[1].connection) == (1, 2, old)
    assert (second[0].connection, len(second[0].topics), second[1].connection) == (2, 3, new)


async def test_qos_0_past_the_limit_is_shed_and_the_next_group_says_so() -> None:
    link, waiting = NotedConnection(), intake(qos0_waiting_max=5)
    waiting.on_publishes(link, link.sends(4, qos=0))
    waiting.on_publishes(link, link.sends(3, qos=0) + link.sends(2))
    group, _ = waiting.take(1, 1, 2)
    assert group.packet_ids == [0, 0, 0, 0, 1, 2]
    assert group.shed == {"qos0_overflow": 3}
    waiting.on_publishes(link, link.sends(1, qos=0))
    assert waiting.take(1, 1, 2)[0].shed == {}
    assert waiting.counts["shed"] == 3


async def test_what_waits_behind_the_journal_counts_towards_the_limit_of_qos_0() -> None:
    link, waiting = NotedConnection(), intake(qos0_waiting_max=5, backlog=5)
    waiting.on_publishes(link, link.sends(2, qos=0))
    assert waiting.is_empty
    waiting.on_publishes(link, link.sends(2))
    assert waiting.take(1, 1, 2)[0].shed == {"qos0_overflow": 2}


async def test_the_commit_waits_for_the_interval_unless_the_group_is_large_or_the_window_used_up() -> None:
    link, waiting = NotedConnection(receive_maximum=4), intake(commit_bytes=10)
    assert waiting.wait_s(0.0) is None
    waiting.on_publishes(link, link.sends(1))
    due = waiting._groups[0].due
    assert waiting.wait_s(due - 4.5) == 4.5
    assert waiting.wait_s(due + 1.0) == 0.0
    waiting.on_publishes(link, link.sends(3, first=2))
    assert waiting.wait_s(due - 5.0) == 0.0
    waiting.take(1, 1, 2)
    large = NotedConnection(2)
    waiting.on_publishes(large, large.sends(1, payload=b"x" * 10))
    assert waiting.wait_s(due - 5.0) == 0.0


async def test_bytes_past_the_limit_stop_the_reading_until_half_of_them_are_journaled() -> None:
    link = NotedConnection()
    limits = Limits(1000, 100, 1000)
    waiting = Intake(limits, lambda: 0, Pace(1.0, 1.0), lambda _: 1.0)
    waiting.on_publishes(link, link.sends(2, payload=b"x" * 50))
    assert not link.is_held
    other = NotedConnection(2)
    waiting.on_publishes(other, other.sends(1))
    assert other.is_held
    waiting.on_publishes(other, other.sends(3, qos=0))
    assert waiting.counts["shed"] == 3, "what cannot be held back is shed"
    waiting.take(1, 1, 2)
    assert not other.is_held


async def test_while_little_comes_a_message_waits_no_longer_than_its_lane_would() -> None:
    pace = Pace(0.02, 10.0)
    pace.looked(0, 3.0)
    pace.looked(100, 13.0)
    assert pace.is_slow
    waiting = Intake(Limits(10, 1 << 20, 1000), lambda: 0, pace, lambda topic: 0.05 if topic == "alarm" else 100.0)
    link = NotedConnection()
    waiting.on_publishes(link, link.sends(1))
    patient = waiting._groups[0].due
    waiting.changed.clear()
    waiting.on_publishes(link, [mqtt5.PublishPacket("alarm", b"1")])
    assert patient - waiting._groups[0].due > 9.0
    assert waiting.changed.is_set()


async def test_where_a_lane_does_not_linger_its_message_makes_the_commit_due_at_once() -> None:
    pace = Pace(10.0, 10.0)
    assert not pace.is_slow
    limits = Limits(10, 1 << 20, 1000)
    waiting = Intake(limits, lambda: 0, pace, lambda topic: 0.0 if topic == "alarm" else 10.0, has_urgent=True)
    link = NotedConnection()
    waiting.on_publishes(link, link.sends(1))
    due = waiting._groups[0].due
    assert waiting.wait_s(due - 5.0) == 5.0
    waiting.changed.clear()
    waiting.on_publishes(link, [mqtt5.PublishPacket("alarm", b"1")])
    assert waiting.wait_s(due - 5.0) == 0.0
    assert waiting.changed.is_set()


async def test_a_closed_intake_takes_nothing_so_that_nothing_is_acknowledged() -> None:
    link, waiting = NotedConnection(), intake()
    waiting.is_open = False
    waiting.on_publishes(link, link.sends(3))
    assert waiting.is_empty


async def test_while_memory_is_short_qos_0_is_shed_under_its_own_name_and_the_broker_waits() -> None:
    link, waiting = NotedConnection(), intake()
    waiting.spare_memory(is_short=True, is_holding=True)
    waiting.on_publishes(link, link.sends(3, qos=0) + link.sends(2))
    assert link.is_held
    assert waiting.take(1, 1, 2)[0].shed == {"memory": 3}
    assert link.is_held, "taking what waited gives no memory back yet"
    waiting.spare_memory(is_short=True, is_holding=False)
    assert not link.is_held
    waiting.on_publishes(link, link.sends(1))
    assert not link.is_held, "now and then the broker is read although memory is short"
    waiting.spare_memory(is_short=True, is_holding=True)
    waiting.on_publishes(link, link.sends(1))
    waiting.spare_memory(is_short=False, is_holding=False)
    assert not link.is_held
    waiting.on_publishes(link, link.sends(1, qos=0))
    assert waiting.take(1, 1, 2)[0].shed == {}


async def test_a_connection_that_is_held_for_its_bytes_stays_held_when_memory_is_not_short() -> None:
    link, waiting = NotedConnection(), intake()
    waiting.on_publishes(link, link.sends(1, payload=b"x" * (1 << 21)))
    assert link.is_held
    waiting.spare_memory(is_short=False, is_holding=False)
    assert link.is_held
    waiting.take(1, 1, 2)
    assert not link.is_held
