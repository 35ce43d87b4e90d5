"""When open rows make a batch, and that a restart changes nothing of it."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch.builder import LaneBuilder
from gateway.config.schema import Lane
from gateway.model import BatchId

LANE = Lane(name="telemetry", batch_readings_max=6, batch_bytes_max=1024, linger_ns=1_000)


def builder(**changes):
    return LaneBuilder(msgspec.structs.replace(LANE, **changes), "node-1", 7)


def test_a_builder_without_rows_is_neither_due_nor_full():
    empty = builder()
    assert (empty.due_at, empty.is_full, empty.open_readings, empty.sequence) == (None, False, 0, 0)


def test_a_batch_is_due_when_its_oldest_row_has_lingered():
    lane = builder()
    lane.append("a", 5, {"x": 1}, at=100)
    lane.append("b", 3, {"x": 1}, at=900)
    assert lane.due_at == 1_100


def test_a_batch_is_full_with_the_reading_that_reaches_its_limit():
    lane = builder()
    lane.append("a", 1, {"x": 1, "y": 2, "z": 3}, at=0)
    lane.append("a", 2, {"x": 1, "y": 2}, at=0)
    assert not lane.is_full
    lane.append("a", 3, {"x": 1}, at=0)
    assert lane.is_full


def test_text_and_topics_count_for_the_bytes_of_a_batch():
    lane = builder(batch_readings_max=1000)
    lane.append("ü", 1, {"x": "…"}, at=0, text_bytes=1024 - 16 - 2 - 1)
    assert not lane.is_full
    lane.append("ü", 2, {"x": 1}, at=0)
    assert lane.is_full


def test_a_batch_taken_holds_the_rows_in_order_of_arrival_and_the_next_begins_empty():
    lane = builder()
    ledger = {"reading.sealed": 3}
    lane.append("b", 9, {"x": 1}, at=0)
    lane.append("a", 1, {"x": True, "y": "t"}, at=0)
    lane.append("b", 8, {"x": 2.5}, at=0)
    batch = lane.take(123, 2, ledger)
    ledger["reading.sealed"] = 4
    assert batch.id == BatchId("node-1", "telemetry", 7, 1)
    assert batch.rows == {"b": ([9, 8], [{"x": 1}, {"x": 2.5}]), "a": ([1], [{"x": True, "y": "t"}])}
    assert (batch.readings, batch.readings_before, batch.sealed_ns, batch.clock) == (4, 0, 123, 2)
    assert batch.ledger == {"reading.sealed": 3}
    assert (lane.due_at, lane.is_full, lane.open_readings) == (None, False, 0)


def test_the_line_of_readings_of_a_new_epoch_goes_on_where_the_ring_ends():
    lane = builder()
    lane.append("a", 1, {"x": 1, "y": 1}, at=0)
    lane.take(0, 0, {})
    lane.epoch = 8
    lane.resume_after(40, 700)
    lane.append("a", 2, {"x": 1}, at=0)
    batch = lane.take(0, 0, {})
    assert (batch.id.epoch, batch.id.sequence, batch.readings_before) == (8, 41, 700)
    assert lane.readings_sealed == 701


def test_a_restored_builder_shares_nothing_with_the_one_it_came_from():
    lane, other = builder(), builder()
    lane.append("a", 1, {"x": 1}, at=4)
    other.restore(list(lane.state()))
    lane.append("a", 2, {"x": 1}, at=5)
    assert other.take(0, 0, {}).rows == {"a": ([1], [{"x": 1}])}


ROWS = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 99),
    st.dictionaries(st.sampled_from("xyz"), st.one_of(st.integers(-5, 5), st.text(max_size=9)), min_size=1),
    st.integers(0, 30),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, max_size=30), st.integers(0, 30))
def test_a_checkpoint_anywhere_leads_to_the_same_batches(rows, cut):
    straight, lane = [], builder(batch_bytes_max=256)
    for topic, time_ns, row, at in rows:
        lane.append(topic, time_ns, dict(row), at, sum(len(value) for value in row.values() if isinstance(value, str)))
        if lane.is_full:
            straight.append(lane.take(at, 1, {}))
    end = list(lane.state())

    broken, lane = [], builder(batch_bytes_max=256)
    for index, (topic, time_ns, row, at) in enumerate(rows):
        if index == cut:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(list(lane.state())))
            lane = builder(batch_bytes_max=256)
            lane.restore(kept)
        lane.append(topic, time_ns, dict(row), at, sum(len(value) for value in row.values() if isinstance(value, str)))
        if lane.is_full:
            broken.append(lane.take(at, 1, {}))
    assert broken == straight
    assert list(lane.state()) == end
