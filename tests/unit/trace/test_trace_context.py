"""Traces of batches: made of identities, sampled by them, in headers and events, and never in the way of a batch."""

from __future__ import annotations

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.mirror.shipment import Shipper
from gateway.model import BatchId
from gateway.trace.context import Context, is_sampled, parsed, root_of
from tests.support.batches import open_batch

IDENTITY = BatchId("node-1", "telemetry", 1764072000, 48)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sealed(traceparent: str = ""):
    batch = open_batch({"plant/door": ([7, 8], [{"open": True}, {"open": False}])})
    batch.traceparent = traceparent
    return envelope.seal(batch, "boot")


def test_the_trace_of_a_batch_is_the_same_wherever_and_whenever_it_is_made() -> None:
    assert str(root_of(IDENTITY)) == "00-23c7d11e1af49c11fba4727d610996ec-6bcac74c4307d130-01"
    assert root_of(IDENTITY) == root_of(BatchId(*IDENTITY))
    others = {root_of(IDENTITY._replace(sequence=number)).trace_id for number in range(1000)}
    assert len(others) == 1000


def test_names_that_run_into_each_other_are_different_traces() -> None:
    assert root_of(BatchId("a", "bc", 1, 1)) != root_of(BatchId("ab", "c", 1, 1))


def test_a_ratio_samples_its_share_and_a_smaller_one_a_part_of_the_same() -> None:
    roots = [root_of(IDENTITY._replace(sequence=number)) for number in range(20_000)]
    tenth, half = ({one for one in roots if is_sampled(one, ratio)} for ratio in (0.1, 0.5))
    assert tenth <= half
    assert (len(tenth), len(half)) == (pytest.approx(2000, rel=0.1), pytest.approx(10_000, rel=0.05))
    assert all(is_sampled(one, 1.0) for one in roots)
    assert not any(is_sampled(one, 0.0) for one in roots)


@given(st.text(max_size=70))
def test_whatever_a_sensor_sends_as_context_is_read_or_left_out(text) -> None:
    found = parsed(text)
    assert found is None or str(found).split("-")[1:3] == text.split("-")[1:3]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PARENT, Context(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)),
        (PARENT[:-1] + "0", Context(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_sampled=False)),
        (f"00-{32 * '0'}-00f067aa0ba902b7-01", None),
        (PARENT.upper(), None),
        (PARENT + "-x", None),
        ("01" + PARENT[2:], None),
    ],
)
def test_a_context_is_what_the_w3c_says(text, found) -> None:
    assert parsed(text) == found


def test_a_sampled_batch_names_its_span_in_the_header_and_says_the_same_as_one_that_does_not() -> None:
    plain, traced = sealed(), sealed(PARENT)
    assert plain.hash == traced.hash
    assert (envelope.traceparent_of(plain.data), envelope.traceparent_of(traced.data)) == ("", PARENT)
    assert b"traceparent" not in plain.data
    found = decode(traced.data)
    assert isinstance(found, DecodedBatch)
    assert found.header.traceparent == PARENT


@pytest.mark.parametrize("wrong", [7, "", "no context", 1000 * "x", b"\x00", [PARENT], None, {"a": 1}])
def test_a_wrong_context_in_a_header_costs_the_span_and_never_the_batch(wrong) -> None:
    opened = envelope.opened(sealed(PARENT).data)
    data = envelope.enclose(envelope.BATCH, {**opened.fields, "traceparent": wrong}, opened.body)
    found = decode(data)
    assert isinstance(found, DecodedBatch)
    assert (found.header.traceparent, envelope.traceparent_of(data)) == ("", "")


def test_readers_that_know_no_contexts_read_traced_batches() -> None:
    opened = envelope.opened(sealed(PARENT).data)
    assert cbor2.loads(cbor2.dumps(opened.fields, canonical=True)) == opened.fields
    known = {key: value for key, value in opened.fields.items() if key != "traceparent"}
    assert envelope.batch_header(known)._replace(traceparent=PARENT) == envelope.batch_header(opened.fields)


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_events_carry_the_context_of_their_batch(mode) -> None:
    shipper = Shipper(schema.Peer(name="hook", tls_ca="ca.pem", format="events", events=schema.Events(mode=mode)))
    for batch, expected in ((sealed(), None), (sealed(PARENT), PARENT)):
        for message in shipper.messages(batch, is_backlog=False):
            said = message.attributes if mode == "binary" else json.loads(message.payload)
            assert said.get("traceparent") == expected


def test_a_batch_as_a_message_carries_its_context() -> None:
    shipper = Shipper(schema.Peer(name="hook", tls_ca="ca.pem", format="batch"))
    (plain,), (traced,) = (shipper.messages(one, is_backlog=False) for one in (sealed(), sealed(PARENT)))
    assert "traceparent" not in plain.attributes
    assert traced.attributes["traceparent"] == PARENT
