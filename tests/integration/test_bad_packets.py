"""A broker that misbehaves: bytes that are not MQTT, answers that refuse, silence. The daemon closes, counts, goes on.

The broker here is a bare socket, because a real one refuses to send most of this. Each case ends with the proof that
matters: the next good message, on whatever connection the daemon makes, is journaled and acknowledged.
"""

from __future__ import annotations

import mqtt5
import pytest

from tests.support.rawbroker import RawBroker, RawConnection, fixed_header, publish_bytes
from tests.support.site import Site
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
"""
GOOD = b'{"value": 1.5}'
CONNACK = mqtt5.ConnAckPacket(session_present=True).write()

MALFORMED = {
    "text_that_is_not_utf_8": publish_bytes(b"plant/\xff\xfe", GOOD),
    "unknown_packet_type_0": fixed_header(0x00, 2) + b"\x00\x01",
    "publish_at_qos_3": fixed_header(0x36, 12) + b"\x00\x07plant/a\x00\x01\x00",
    "publish_at_qos_2": publish_bytes(b"plant/a", GOOD, qos=2),
    "publish_with_packet_id_0": publish_bytes(b"plant/a", GOOD, packet_id=0),
    "announced_length_past_the_limit": fixed_header(0x32, 200_000_000) + b"\x00\x07plant/a",
    "length_of_five_bytes": b"\x32\xff\xff\xff\xff\x7f",
    "topic_longer_than_its_packet": fixed_header(0x32, 6) + b"\xff\xffpl\x00\x01",
    "properties_longer_than_their_packet": fixed_header(0x32, 13) + b"\x00\x07plant/a\x00\x01\x7f{}",
    "unknown_property": fixed_header(0x32, 15) + b"\x00\x07plant/a\x00\x01\x02\x7e\x01{",
    "topic_alias_that_was_not_allowed": fixed_header(0x32, 8) + b"\x00\x00\x00\x01\x03\x23\x00\x01",
    "connack_twice": CONNACK,
    "connect_from_a_server": mqtt5.ConnectPacket("thief").write(),
    "pubrel_that_was_never_due": fixed_header(0x62, 2) + b"\x00\x01",
    "reserved_flags_in_puback": fixed_header(0x4F, 2) + b"\x00\x01",
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n" + b"<p>this is no MQTT</p>" * 10,
    "zeros": bytes(4096),
}


@pytest.fixture
def broker():
    with RawBroker() as broker:
        yield broker


def site_on(broker: RawBroker, tmp_path, options: str = "") -> Site:
    return Site(tmp_path, ROUTES, broker_port=broker.port, broker=options)


def deliver(connection: RawConnection, number: int = 1) -> None:
    """Send one good message and read its PUBACK: the daemon has it on disk."""
    connection.wait_acknowledged([connection.publish(f"plant/{number}", GOOD)])


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bytes_close_the_connection_are_counted_and_the_next_message_is_taken(broker, tmp_path, data) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            deliver(connection)
            connection.send(data)
            connection.wait_closed()
        with broker.serve(session_present=True) as connection:
            deliver(connection, 2)
            status = site.status()
        assert status["ingest"]["malformed"] == 1, status["ingest"]
        assert status["ledger"]["message.decoded"] == 2


def test_packets_that_come_byte_by_byte_are_taken(broker, tmp_path) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            for number in (1, 2, 3):
                for byte in publish_bytes(b"plant/a", GOOD, packet_id=number):
                    connection.send(bytes([byte]))
            connection.wait_acknowledged([1, 2, 3])
            assert site.ledger()["message.decoded"] == 3


def test_a_packet_cut_off_by_the_end_of_the_connection_is_not_counted_as_a_message(broker, tmp_path) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            deliver(connection)
            connection.send(publish_bytes(b"plant/a", GOOD, packet_id=2)[:-3])
        with broker.serve(session_present=True) as connection:
            deliver(connection, 2)
            assert site.ledger()["message.received"] == 2


@pytest.mark.parametrize("topic", ["plant/\x00", "plant/+/a", "plant/#", "plant/\x01\x1f\x7f", "plant/\ufeff\uffff"])
def test_a_topic_no_broker_should_send_is_decided_and_the_next_message_is_taken(broker, tmp_path, topic) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            connection.send(publish_bytes(topic.encode(), GOOD, packet_id=9))
            connection.send(publish_bytes(b"plant/good", GOOD, packet_id=10))
            answered = closed_or_acknowledged(connection, 10)
        if not answered:
            with broker.serve(session_present=True) as connection:
                deliver(connection)
        status = site.status()
        ledger = status["ledger"]
        assert ledger["message.decoded"] >= 1
        assert ledger["message.received"] == 2 or status["ingest"]["malformed"] == 1
        assert status["residual"] == {"messages": 0, "readings": 0}


def closed_or_acknowledged(connection: RawConnection, packet_id: int) -> bool:
    """Read until `packet_id` is acknowledged (True) or the client closes (False)."""
    while True:
        try:
            packet = connection.packet()
        except AssertionError:
            return False
        if isinstance(packet, mqtt5.DisconnectPacket):
            return False
        if isinstance(packet, mqtt5.PubAckPacket) and packet.packet_id == packet_id:
            return True


@pytest.mark.parametrize("reason", [0x80, 0x86, 0x87, 0x88, 0x89, 0x9F])
def test_a_refused_connection_is_tried_again(broker, tmp_path, reason) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.accept() as connection:
            connection.read_connect()
            connection.send(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode(reason)).write())
            connection.wait_closed()
        with broker.serve() as connection:
            deliver(connection)
            assert site.status()["ingest"]["connection_faults"] == 1


def test_a_broker_that_closes_at_once_is_tried_again(broker, tmp_path) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        for _ in range(3):
            with broker.accept() as connection:
                connection.read_connect()
        with broker.serve() as connection:
            deliver(connection)
            assert site.status()["ingest"]["connection_faults"] == 3


def test_a_lost_session_is_counted_and_what_waited_for_acknowledgement_is_forgotten(broker, tmp_path) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            deliver(connection)
        with broker.serve(session_present=True) as connection:
            deliver(connection)
            assert site.status()["ingest"]["sessions_lost"] == 0
        with broker.serve(session_present=False) as connection:
            # The same packet id names another message now: it must not pass for the one of the lost session.
            connection.wait_acknowledged([connection.publish("plant/a", b'{"value": 7}', packet_id=1)])
            status = site.status()
        assert status["ingest"]["sessions_lost"] == 1
        assert status["ledger"]["message.decoded"] == 3


def test_a_message_sent_again_after_a_reconnect_is_taken_once(broker, tmp_path) -> None:
    with site_on(broker, tmp_path) as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            connection.publish("plant/a", GOOD, packet_id=5)
            wait_for(lambda: site.ledger().get("message.received"), "the message is journaled")
        with broker.serve(session_present=True) as connection:
            connection.publish("plant/a", GOOD, packet_id=5, duplicate=True)
            connection.wait_acknowledged([5])
            deliver(connection)
            ledger = site.ledger()
        assert ledger["message.decoded"] == 2
        assert ledger["message.duplicate"] == 1


def test_a_broker_that_goes_silent_is_given_up_after_twice_the_keep_alive(broker, tmp_path) -> None:
    with site_on(broker, tmp_path, 'keep_alive = "1s"') as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            deliver(connection)
            packets = connection.wait_closed()
            assert any(isinstance(packet, mqtt5.PingReqPacket) for packet in packets)
        with broker.serve(session_present=True) as connection:
            deliver(connection, 2)
            assert "silent" in site.daemon.log()


def test_a_broker_that_sends_more_than_the_receive_maximum_is_taken_at_its_word_and_counted(broker, tmp_path) -> None:
    with site_on(broker, tmp_path, "receive_maximum = 10") as site:
        site.daemon.spawn()
        with broker.serve() as connection:
            assert connection.connect is not None
            assert connection.connect.receive_max == 10
            numbers = range(1, 501)
            connection.send(b"".join(publish_bytes(b"plant/a", GOOD, packet_id=number) for number in numbers))
            connection.wait_acknowledged(numbers)
            site.wait_received(500)
            status = site.status()
        assert status["ingest"]["overruns"] >= 1
        assert status["ledger"]["message.decoded"] == 500
