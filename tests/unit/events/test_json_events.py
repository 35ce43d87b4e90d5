"""CloudEvents in JSON: every reading of a batch in exactly one event, bit for bit, and the same bytes each time."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.events.json import DATA, GAP, READINGS, STRUCTURED, Shape, messages
from gateway.model import Gap, Value
from gateway.transport.contract import Message
from tests.support.batches import Rows, open_batch

SHAPES = [Shape(of_readings, is_binary) for of_readings in (False, True) for is_binary in (False, True)]
GONE = Gap("node-1", "telemetry", 3, 7, 9, 60, 140, "evicted")

VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
TOPICS = st.sampled_from(["plant/a", "plant/b", 'plant/"quoted"/ü'])
FIELDS = st.sampled_from(["t", "state", "x.y", 'f"'])


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    made: Rows = {}
    for topic in draw(st.lists(TOPICS, min_size=1, unique=True)):
        times = draw(st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True))
        made[topic] = times, [draw(st.dictionaries(FIELDS, VALUES, min_size=1)) for _ in times]
    return made


def sealed(made: Rows) -> DecodedBatch:
    found = decode(envelope.seal(open_batch(made), "boot").data)
    assert isinstance(found, DecodedBatch)
    return found


def opened(message: Message, shape: Shape) -> tuple[dict[str, object], dict[str, object]]:
    """Return attributes and data of an event."""
    if shape.is_binary:
        assert message.content_type == DATA
        return dict(message.attributes), json.loads(message.payload)
    assert (message.content_type, message.attributes) == (STRUCTURED, {})
    event = json.loads(message.payload)
    assert event.pop("datacontenttype") == DATA
    return event, event.pop("data")


def value_of(told: object) -> Value:
    return b64decode(told["base64"]) if isinstance(told, dict) else told  # type: ignore[return-value]  # what JSON has


@pytest.mark.parametrize("shape", SHAPES)
@given(made=rows())
def test_every_reading_is_in_exactly_one_event_with_its_value_its_time_and_its_topic(shape: Shape, made: Rows) -> None:
    expected = sorted(
        (topic, time_ns, field, type(value).__name__, repr(value))
        for topic, (times, fields) in made.items()
        for time_ns, row in zip(times, fields, strict=True)
        for field, value in row.items()
    )
    found = []
    for message in messages(sealed(made), shape):
        attributes, data = opened(message, shape)
        second, _, fraction = str(attributes["time"]).removesuffix("Z").partition(".")
        moment = datetime.fromisoformat(second).replace(tzinfo=UTC)
        time_ns = round(moment.timestamp()) * 10**9 + int(fraction)
        assert len(data) == 1 or not shape.of_readings
        for field, told in data.items():
            value = value_of(told)
            found.append((attributes["subject"], time_ns, field, type(value).__name__, repr(value)))
    assert sorted(found) == expected


@pytest.mark.parametrize("shape", SHAPES)
@given(made=rows())
def test_ids_are_unique_and_a_batch_makes_the_same_events_each_time(shape: Shape, made: Rows) -> None:
    first, again = messages(sealed(made), shape), messages(sealed(made), shape)
    assert first == again
    assert len({message.id for message in first}) == len(first)
    assert all(message.id.startswith("node-1/telemetry/3/5/") for message in first)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_says_what_the_specification_requires(shape: Shape) -> None:
    (message,) = messages(sealed({"plant/a": ([1_764_072_000_250_000_000], [{"t": 21.5}])}), shape, is_backlog=True)
    attributes, data = opened(message, shape)
    assert attributes == {
        "specversion": "1.0",
        "type": READINGS,
        "source": "/edge-gateway/node-1",
        "id": "node-1/telemetry/3/5/0",
        "subject": "plant/a",
        "time": "2025-11-25T12:00:00.250000000Z",
        "backlog": "true",
    }
    assert data == {"t": 21.5}
    assert (message.id, message.key) == ("node-1/telemetry/3/5/0", "node-1/plant/a")


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_lost_is_told_as_well(shape: Shape) -> None:
    (message,) = messages(GONE, shape)
    attributes, data = opened(message, shape)
    assert (attributes["type"], attributes["id"]) == (GAP, "node-1/telemetry/3/7-9")
    assert data == {"lane": "telemetry", "first": 7, "last": 9, "readings": 60, "reason": "evicted"}
