"""What node and receiver say to each other."""

from __future__ import annotations

import cbor2
import pytest

from gateway.errors import BatchError
from gateway.transport import wire


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
