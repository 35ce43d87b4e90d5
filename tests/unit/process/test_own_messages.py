"""Messages of the gateway's own: taken in once, and nobody else can send them."""

from __future__ import annotations

from gateway.audit.entry import NOTHING_BEFORE, Entry, content_of, line_of
from gateway.audit.feed import payload_of
from gateway.config import schema
from gateway.ledger import residuals
from gateway.model import OWN, MessageGroup
from gateway.process.pipeline import Pipeline

LANES = (schema.Lane(name="telemetry"), schema.Lane(name="audit"))
ROUTES = (schema.Route(name="all", topics=("#", "$gateway/#"), lane="telemetry"),)
AUDIT = schema.Audit(lane="audit")


def group(payloads: list[bytes], connection: int) -> MessageGroup:
    zeros = [0] * len(payloads)
    return MessageGroup(
        10**18, 5, 2, connection, False, [schema.AUDIT_TOPIC] * len(payloads), payloads, zeros, zeros, {}
    )


def payload(number: int) -> bytes:
    entry = Entry(number=number, time_ns=number, kind="thing.done", who="me", what={}, previous=NOTHING_BEFORE)
    return payload_of(number, line_of(content_of(entry)).rstrip(b"\n"))


def pipeline(audit: schema.Audit = AUDIT) -> Pipeline:
    return Pipeline((*ROUTES, *audit.routes), LANES, schema.Broker(), "node-1", 1)


def rows(of: Pipeline) -> dict[str, int]:
    """Return the rows in each lane's batch."""
    found = {batch.id.lane: batch for batch in of.finish(10**18, 10).batches}
    return {lane: sum(len(times) for times, _ in batch.rows.values()) for lane, batch in found.items()}


def apply(to: Pipeline, entry: MessageGroup, position: int) -> None:
    for _ in to.apply(entry, position):
        pass


def test_entries_become_rows_of_their_lane_and_one_that_comes_again_is_left_out() -> None:
    at_work = pipeline()
    apply(at_work, group([payload(1), payload(2)], OWN), 0)
    apply(at_work, group([payload(2), payload(3)], OWN), 1)
    assert at_work.ledger["reading.duplicate"] > 0
    assert residuals(at_work.ledger, at_work.open_readings) == (0, 0)
    assert rows(at_work) == {"audit": 3}


def test_a_message_from_a_broker_under_the_reserved_topic_is_no_entry() -> None:
    at_work = pipeline()
    apply(at_work, group([payload(1)], 1), 0)
    assert rows(at_work) == {"telemetry": 1}


def test_without_a_lane_for_them_they_are_counted_and_nothing_more() -> None:
    at_work = pipeline(schema.Audit())
    apply(at_work, group([payload(1)], OWN), 0)
    assert at_work.ledger["message.unrouted"] == 1
    assert rows(at_work) == {}


def test_they_change_nothing_of_what_is_known_of_the_broker() -> None:
    at_work = pipeline()
    sent = MessageGroup(1, 1, 2, 3, True, ["a"], [b'{"v": 1}'], [7], [4], {})
    apply(at_work, sent, 0)
    apply(at_work, group([payload(1)], OWN), 1)
    again = MessageGroup(1, 2, 2, 4, True, ["a"], [b'{"v": 1}'], [7], [6], {})
    apply(at_work, again, 2)
    assert at_work.ledger["message.duplicate"] == 1
