"""Which messages are taken for ones that the journal has already."""

from __future__ import annotations

import msgspec

from gateway.model import DUPLICATE, QOS1, MessageGroup
from gateway.process.redelivery import Redelivery


def group(connection, *messages, resumed=True) -> MessageGroup:
    """Return a group of messages (packet id, payload, is flagged), on topic `t` where no fourth names another."""
    return MessageGroup(
        0, 0, 0, connection, resumed,
        [message[3] if len(message) > 3 else "t" for message in messages],
        [message[1] for message in messages],
        [message[0] for message in messages],
        [(QOS1 if message[0] else 0) | (DUPLICATE if message[2] else 0) for message in messages],
        {},
    )  # fmt: skip


def after(*groups, receive_maximum=10) -> Redelivery:
    one = Redelivery(receive_maximum)
    for each in groups:
        one.duplicates(each)
    again = Redelivery(receive_maximum)
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(list(one.state())), strict=False))
    return again


FIRST = group(1, (1, b"a", False), (2, b"b", False), (3, b"c", False), resumed=False)


def test_a_flagged_message_that_an_earlier_connection_brought_is_a_duplicate() -> None:
    again = group(2, (1, b"a", True), (2, b"b", True), (4, b"d", True), (5, b"e", False))
    assert after(FIRST).duplicates(again) == {0, 1}


def test_one_without_the_flag_with_other_content_or_another_topic_is_taken() -> None:
    again = group(2, (1, b"a", False), (2, b"x", True), (3, b"c", True, "other"))
    assert after(FIRST).duplicates(again) == set()


def test_nothing_is_a_duplicate_on_the_connection_that_brought_it() -> None:
    assert after(FIRST).duplicates(group(1, (1, b"a", True), resumed=False)) == set()


def test_a_lost_session_makes_everything_forgotten() -> None:
    assert after(FIRST).duplicates(group(2, (1, b"a", True), resumed=False)) == set()
    lost = group(2, (9, b"z", False), resumed=False)
    assert after(FIRST, lost).duplicates(group(3, (1, b"a", True))) == set()


def test_what_is_sent_again_twice_is_a_duplicate_twice() -> None:
    second = group(2, (1, b"a", True))
    assert after(FIRST, second).duplicates(group(3, (1, b"a", True), (2, b"b", True))) == {0, 1}


def test_a_packet_id_that_was_used_anew_names_the_newer_message() -> None:
    second = group(2, (1, b"new", False))
    assert after(FIRST, second).duplicates(group(3, (1, b"a", True), (2, b"b", True))) == {1}


def test_messages_further_back_than_the_receive_maximum_are_forgotten() -> None:
    groups = [group(1, (number, b"%d" % number, False), resumed=False) for number in range(1, 21)]
    again = group(2, *((number, b"%d" % number, True) for number in range(1, 21)))
    assert after(*groups, receive_maximum=5).duplicates(again) == {15, 16, 17, 18, 19}


def test_a_whole_window_on_the_new_connection_ends_the_memory_of_those_before() -> None:
    window = [group(2, (number, b"w", False)) for number in range(100, 106)]
    assert after(FIRST, *window, receive_maximum=5).duplicates(group(2, (1, b"a", True))) == set()


def test_messages_at_qos_0_are_never_duplicates() -> None:
    first = group(1, (0, b"a", False), resumed=False)
    assert after(first).duplicates(group(2, (0, b"a", True), (0, b"a", False))) == set()


def test_the_memory_stays_bounded_over_many_connections() -> None:
    one = Redelivery(5)
    for connection in range(1, 200):
        one.duplicates(group(connection, (connection, b"x", False), resumed=connection > 1))
    assert len(one._earlier) <= 10
