"""What node and receiver say to each other."""

from __future__ import annotations

from decimal import Decimal

import cbor2
import pytest

from gateway.config import schema
from gateway.errors import BatchError
from gateway.transport import wire

HUGE = Decimal("1E+999999999")
"""A few bytes on the line; whoever makes an integer of it computes for ever."""


def test_an_acknowledgement_comes_back_as_it_was_and_has_one_form() -> None:
    word = wire.Acknowledgement("r1", "telemetry", 7, ((1, 4), (9, 9)))
    data = wire.encode_acknowledgement(word)
    assert wire.decode_acknowledgement(data) == word
    assert data == wire.encode_acknowledgement(wire.decode_acknowledgement(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        cbor2.dumps([]),
        cbor2.dumps({"v": 1}),
        cbor2.dumps({"v": 2, "receiver": "r", "lane": "l", "epoch": 1, "done": []}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": 1, "done": [[1]]}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": 1, "done": 5}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": 1, "done": [[1, float("inf")]]}),
        b"\x81" * 10_000,
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": 1, "done": [[1, 1]] * 5000}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": "x", "done": []}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": HUGE, "done": []}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": 1, "done": [[1, HUGE]]}),
        cbor2.dumps({"v": 1, "receiver": "r", "lane": "l", "epoch": 1, "done": [], "group": HUGE}),
    ],
)
def test_what_is_no_acknowledgement_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(BatchError):
        wire.decode_acknowledgement(data)


def test_every_truncation_of_an_acknowledgement_is_an_error() -> None:
    data = wire.encode_acknowledgement(wire.Acknowledgement("r1", "telemetry", 7, ((1, 4),)))
    for cut in range(len(data)):
        with pytest.raises(BatchError):
            wire.decode_acknowledgement(data[:cut])


def test_topics_of_one_node_match_the_filter_of_the_receivers() -> None:
    assert wire.batch_topic("edge/v1", "n1", "alarm") == "edge/v1/n1/batch/alarm"
    assert wire.batch_filter("edge/v1", "g") == "$share/g/edge/v1/+/batch/+"
    assert wire.acknowledgement_topic("edge/v1", "n1") == "edge/v1/n1/ack"


def test_a_heartbeat_comes_back_as_it_was_and_its_answer_is_told_from_other_words() -> None:
    assert wire.decode_heartbeat(wire.encode_heartbeat(17)) == 17
    answer = wire.Acknowledgement("r1", "", 17, (), "blue")
    assert wire.decode_acknowledgement(wire.encode_acknowledgement(answer)) == answer
    assert answer.is_answer
    assert not wire.Acknowledgement("r1", "telemetry", 17, ()).is_answer


@pytest.mark.parametrize(
    "data",
    [
        *(wire.encode_heartbeat(300)[:cut] for cut in range(len(wire.encode_heartbeat(300)))),
        cbor2.dumps([]),
        cbor2.dumps({"number": 1}),
        cbor2.dumps({"v": 2, "number": 1}),
        cbor2.dumps({"v": 1, "number": -1}),
        cbor2.dumps({"v": 1, "number": 1 << 63}),
        cbor2.dumps({"v": 1, "number": float("inf")}),
        cbor2.dumps({"v": 1, "number": "x"}),
        cbor2.dumps({"v": 1, "number": HUGE}),
        b"\x81" * 10_000,
    ],
)
def test_what_is_no_heartbeat_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(BatchError):
        wire.decode_heartbeat(data)


def test_whose_heartbeat_it_is_stands_in_its_topic() -> None:
    assert wire.node_of_heartbeat("edge/v1", wire.heartbeat_topic("edge/v1", "n1")) == "n1"
    for other in ("edge/v1/n1/batch/alarm", "edge/v1/n1/beat/x", "edge/v2/n1/beat", "n1/beat", "edge/v1/beat"):
        assert not wire.node_of_heartbeat("edge/v1", other), other
    assert wire.heartbeat_filter("edge/v1", "g") == "$share/g/edge/v1/+/beat"


def test_a_word_names_its_group_only_where_it_is_not_the_usual_one() -> None:
    usual = schema.Receiver(tls_ca="", tls_certificate="", tls_key="").share_group
    assert b"group" not in wire.encode_acknowledgement(wire.Acknowledgement("r1", "telemetry", 7, (), usual))
    assert b"group" in wire.encode_acknowledgement(wire.Acknowledgement("r1", "telemetry", 7, (), "blue"))
