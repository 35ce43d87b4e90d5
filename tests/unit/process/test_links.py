"""Batches are linked to the spans of the messages in them, and made of the same readings as without."""

from __future__ import annotations

import pytest

from gateway.batch.columns import content, content_hash
from gateway.config import schema
from gateway.model import MessageGroup
from gateway.process.links import LINKS_MAX
from gateway.process.pipeline import Pipeline

LANES = (schema.Lane(name="few", batch_readings_max=3), schema.Lane(name="many"))
ROUTES = (
    schema.Route(name="few", topics=("few/#",), lane="few"),
    schema.Route(name="many", topics=("many/#",), lane="many"),
    schema.Route(name="windowed", topics=("windowed/#",), lane="many", window=schema.Window(size_ns=10**9)),
)


def batches(messages: list[tuple[str, bytes, str]]) -> list[tuple[str, list[str], bytes]]:
    """Return lane, links and content hash of the batches that messages with contexts become."""
    topics, payloads, contexts = ([one[part] for one in messages] for part in range(3))
    zeros = [0] * len(topics)
    group = MessageGroup(10**18, 5, 2, 1, False, topics, payloads, zeros, zeros, {})
    pipeline = Pipeline(ROUTES, LANES, schema.Broker(), "node-1", 1)
    found = [
        batch
        for output in pipeline.apply(group, 0, {n: one for n, one in enumerate(contexts) if one})
        for batch in output.batches
    ]
    found += pipeline.finish(10**18, 10).batches
    return [(one.id.lane, one.links, content_hash(content(one.rows), one.readings_before)) for one in found]


def value(number: int) -> bytes:
    return b'{"v": %d}' % number


def test_a_link_goes_to_the_batch_that_holds_the_message() -> None:
    messages = [("few/a", value(number), f"span {number}" if number in (1, 2, 3, 7) else "") for number in range(8)]
    assert [links for _, links, _ in batches(messages)] == [["span 1", "span 2"], ["span 3"], ["span 7"]]


def test_lanes_do_not_take_each_others_links() -> None:
    messages = [("few/a", value(1), "a"), ("many/a", value(2), "b"), ("few/b", value(3), "c")]
    assert {lane: links for lane, links, _ in batches(messages)} == {"few": ["a", "c"], "many": ["b"]}


def test_what_a_window_took_is_linked_to_the_next_batch_of_its_lane() -> None:
    assert [links for _, links, _ in batches([("windowed/a", value(1), "a")])] == [["a"]]


@pytest.mark.parametrize("message", [("few/a", b"no json", "a"), ("nowhere", value(1), "a")])
def test_what_no_batch_holds_is_linked_to_none(message) -> None:
    assert [links for _, links, _ in batches([message, ("few/a", value(1), "")])] == [[]]


def test_links_of_a_batch_are_bounded() -> None:
    assert [len(links) for _, links, _ in batches([("many/a", value(1), f"{n}") for n in range(600)])] == [LINKS_MAX]


def test_contexts_change_nothing_of_what_batches_hold() -> None:
    messages = [
        (f"{('few', 'many', 'windowed')[n % 3]}/{n % 5}", value(n), f"{n}" if n % 7 == 0 else "") for n in range(900)
    ]
    plain = [(topic, payload, "") for topic, payload, _ in messages]
    assert [(one[0], one[2]) for one in batches(messages)] == [(one[0], one[2]) for one in batches(plain)]
