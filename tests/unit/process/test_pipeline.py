"""The machine as a whole: every message is decided, the books balance, a replay makes the same batches."""

from __future__ import annotations

import copy
import itertools
import json

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ledger
from gateway.config import schema
from gateway.model import (
    CLOCK_SYNCHRONISED,
    CLOCK_UNSYNCHRONISED,
    DUPLICATE,
    QOS1,
    MessageGroup,
    OpenBatch,
    Output,
    Quarantined,
    Tick,
)
from gateway.pressure import FLUSH
from gateway.process import pipeline as module
from gateway.process.pipeline import Pipeline
from gateway.process.samplers import Samplers

S = 10**9
NOW = 1_780_000_000 * S
TEN_YEARS_MS = 10 * 365 * 86400 * 1000

ROUTES = (
    schema.Route(name="timed", topics=("timed/#",), lane="b", time=schema.Time(field="t")),
    schema.Route(
        name="steps",
        topics=("steps/+",),
        lane="a",
        keep="v > 0 or has(s)",
        sample=schema.Sample(every=2, deadband={"v": 1.0}),
    ),
    schema.Route(
        name="window",
        topics=("window/+",),
        lane="b",
        window=schema.Window(size_ns=2 * S, idle_ns=5 * S, functions=("count", "sum", "last")),
    ),
    schema.Route(name="cbor", topics=("cbor/#",), lane="a", decoder="cbor", fields=("a", "b.c")),
    schema.Route(name="scalar", topics=("scalar/#",), lane="b", decoder="scalar"),
    schema.Route(name="json", topics=("json/#", "timed/never"), lane="a"),
)
LANES = (
    schema.Lane(name="a", batch_readings_max=7, linger_ns=3 * S),
    schema.Lane(name="b", batch_readings_max=50, batch_bytes_max=2048, linger_ns=S),
)


def machine(routes=ROUTES, lanes=LANES, **limits) -> Pipeline:
    return Pipeline(routes, lanes, schema.Broker(**limits), "node", 1)


def group(*messages: tuple[str, bytes], at=0, wall_ns=NOW, clock=CLOCK_SYNCHRONISED, shed=None) -> MessageGroup:
    topics, payloads = [topic for topic, _ in messages], [payload for _, payload in messages]
    return MessageGroup(
        wall_ns, at, clock, 1, False, topics, payloads, [0] * len(topics), [0] * len(topics), shed or {}
    )


def tick(at: int) -> Tick:
    return Tick(NOW + at, at, CLOCK_SYNCHRONISED)


def applied(one: Pipeline, *entries, position=0) -> Output:
    """Apply entries and return everything that came out; the books must balance after each slice."""
    total = Output()
    for number, entry in enumerate(entries, position):
        for output in one.apply(entry, number):
            assert ledger.residuals(one.ledger, one.open_readings) == (0, 0)
            total.batches += output.batches
            total.quarantined += output.quarantined
        assert ledger.residuals(one.ledger, one.open_readings) == (0, 0)
        assert one.deadline is None or one.deadline > entry.at
    return total


def restarted(one: Pipeline) -> Pipeline:
    again = machine()
    again.restore(one.state_slices())
    return again


def fates(one: Pipeline) -> dict[str, int]:
    return {fate: number for fate, number in one.ledger.items() if number}


BAD = {
    "empty": ("json/a", b"", "empty"),
    "truncated": ("json/a", b'{"v": 1', "malformed_json"),
    "deeply nested": ("json/a", b"[" * 500_000, "too_deep"),
    "5 MB": ("json/a", b'{"v": "' + b"x" * 5_000_000 + b'"}', "payload_too_large"),
    "not UTF-8": ("json/a", b'{"v": "\xff\xfe"}', "not_utf8"),
    "NaN": ("json/a", b'{"v": NaN}', "not_finite"),
    "Infinity": ("json/a", b'{"v": -Infinity}', "not_finite"),
    "huge integer": ("json/a", b'{"v": 123456789012345678901234567890}', "integer_too_large"),
    "duplicate keys": ("json/a", b'{"v": 1, "v": 2}', "duplicate_key"),
    "array": ("json/a", b"[1]", "not_an_object"),
    "no fields": ("json/a", b"{}", "no_fields"),
    "none of the fields": ("cbor/a", cbor2.dumps({"z": 1}), "no_fields"),
    "only a time": ("timed/a", b'{"t": 1780000000000}', "no_fields"),
    "time missing": ("timed/a", b'{"v": 1}', "time_missing"),
    "time of the wrong type": ("timed/a", b'{"t": "soon", "v": 1}', "time_invalid"),
    "ten years ahead": ("timed/a", b'{"t": %d, "v": 1}' % (NOW // 10**6 + TEN_YEARS_MS), "time_ahead"),
    "topic of 64 KB": ("json/" + "x" * 65_000, b'{"v": 1}', "topic_too_long"),
    "topic with NUL": ("json/\0", b'{"v": 1}', "topic_invalid"),
    "wildcard +": ("json/+", b'{"v": 1}', "topic_invalid"),
    "wildcard #": ("json/#", b'{"v": 1}', "topic_invalid"),
    "empty topic": ("", b'{"v": 1}', "topic_invalid"),
}


@pytest.mark.parametrize(("topic", "payload", "reason"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_used_is_quarantined_with_its_reason_and_the_next_message_is_taken(
    topic, payload, reason
) -> None:
    one = machine()
    (found,) = applied(one, group((topic, payload), ("json/good", b'{"v": 1}')), position=3).quarantined
    assert isinstance(found, Quarantined)
    assert (found.topic, found.reason, found.wall_ns) == (topic, reason, NOW)
    assert found.payload == payload[: 64 * 1024]
    assert found.detail
    assert fates(one) == {
        "message.received": 2,
        "message.decoded": 1,
        f"message.quarantined.{reason}": 1,
        "reading.decoded": 1,
    }


def test_a_topic_with_a_wildcard_is_refused_in_a_whole_sentence() -> None:
    (found,) = applied(machine(), group(("json/#", b'{"v": 1}'))).quarantined
    assert found.detail == "no message may have this topic, it holds a wildcard"


def test_quarantine_keys_are_unique_and_the_same_on_replay() -> None:
    entries = [group(*[("json/a", b"bad")] * 600), group(*[("json/a", b"bad")] * 3)]
    keys = [one.key for one in applied(machine(), *entries).quarantined]
    assert len(set(keys)) == 603
    assert keys == sorted(keys) == [one.key for one in applied(machine(), *entries).quarantined]


def test_a_clock_of_ours_that_is_not_set_refuses_no_time() -> None:
    one = machine()
    payload = b'{"t": %d, "v": 1}' % (NOW // 10**6)
    applied(one, group(("timed/a", payload), wall_ns=5 * S, clock=CLOCK_UNSYNCHRONISED))
    assert one.ledger["message.decoded"] == 1
    applied(one, group(("timed/a", payload), wall_ns=5 * S))
    assert one.ledger["message.quarantined.time_ahead"] == 1


def test_a_topic_without_a_route_is_counted() -> None:
    one = machine()
    applied(one, group(("elsewhere", b"1"), ("$SYS/x", b"1"), ("elsewhere", b"1")))
    assert fates(one) == {"message.received": 3, "message.unrouted": 3}


def test_shed_messages_are_received_and_shed() -> None:
    one = machine()
    applied(one, group(("json/a", b'{"v":1}'), shed={"qos0_overflow": 5}))
    assert fates(one) == {
        "message.received": 6,
        "message.decoded": 1,
        "message.shed.qos0_overflow": 5,
        "reading.decoded": 1,
    }


def test_a_message_sent_again_after_a_reconnect_is_a_duplicate() -> None:
    one = machine()
    columns = (["json/a"], [b'{"v":1}'], [7])
    applied(one, MessageGroup(NOW, 0, 2, 1, False, *columns, [QOS1], {}))
    applied(restarted(one), MessageGroup(NOW, 0, 2, 2, True, *columns, [QOS1 | DUPLICATE], {}))
    one = restarted(one)
    applied(one, MessageGroup(NOW, 0, 2, 2, True, *columns, [QOS1 | DUPLICATE], {}))
    assert fates(one)["message.duplicate"] == 1
    assert fates(one)["message.decoded"] == 1


def test_rows_of_one_topic_at_one_time_are_all_kept() -> None:
    one = machine()
    applied(one, group(*[("json/a", b'{"v":1}')] * 3))
    (batch,) = applied(one, tick(3 * S)).batches
    assert batch.rows == {"json/a": ([NOW] * 3, [{"v": 1}] * 3)}


def test_a_lane_is_sealed_when_it_is_full_and_when_it_has_waited_long_enough() -> None:
    one = machine()
    (full,) = applied(one, group(*[("json/a", b'{"v":1,"w":2}')] * 5, at=S)).batches
    assert (full.id.lane, full.id.sequence, full.readings, full.readings_before) == ("a", 1, 8, 0)
    assert one.deadline == 4 * S
    assert applied(one, tick(4 * S - 1)).batches == []
    (waited,) = applied(one, tick(4 * S)).batches
    assert (waited.id.sequence, waited.readings, waited.readings_before) == (2, 2, 8)
    assert (one.deadline, one.open_readings, one.sequences) == (None, 0, {"a": 2, "b": 0})


def test_the_ledger_in_a_batch_counts_its_own_readings_and_what_was_decided_before() -> None:
    one = machine()
    batches = applied(one, *[group(*[("json/a", b'{"v":1,"w":2}'), ("json/a", b"bad")] * 20)] * 3).batches
    assert len(batches) == 15
    for number, batch in enumerate(batches, 1):
        assert batch.ledger["reading.sealed"] == batch.readings_before + batch.readings == 8 * number
        assert ledger.residuals(batch.ledger, 0) == (0, 0)


def test_readings_that_the_steps_leave_out_are_counted_by_step() -> None:
    one = machine()
    rows = [{"v": -1}, {"v": 5}, {"v": 6}, {"v": 5.5, "s": "x"}, {"v": 5}, {"s": 1, "v": 9}]
    applied(one, group(*[("steps/a", json.dumps(row).encode()) for row in rows]))
    (batch,) = applied(one, tick(3 * S)).batches
    assert batch.rows == {"steps/a": ([NOW, NOW, NOW], [{"v": 5}, {"s": "x"}, {"s": 1, "v": 9}])}
    assert fates(one) == {
        "message.received": 6,
        "message.decoded": 6,
        "reading.decoded": 8,
        "reading.filtered": 1,
        "reading.sampled_out": 3,
        "reading.sealed": 4,
    }


def test_windows_close_by_newer_readings_and_by_silence() -> None:
    one = machine()
    message = ("window/a", b'{"v":2}')
    for second in (0, 1, 2, 0):
        applied(one, group(message, wall_ns=NOW + second * S, at=second * S))
    assert fates(one)["reading.late"] == 1
    batches = applied(one, tick(3 * S)).batches
    assert batches[0].rows == {"window/a": ([NOW], [{"v.count": 2, "v.sum": 4, "v.last": 2}])}
    assert one.deadline == 7 * S
    applied(one, tick(7 * S))
    (batch,) = applied(one, tick(8 * S)).batches
    assert batch.rows == {"window/a": ([NOW + 2 * S], [{"v.count": 1, "v.sum": 2, "v.last": 2}])}
    assert one.deadline is None


def test_many_silent_topics_close_in_slices() -> None:
    one = machine(lanes=(LANES[0], schema.Lane(name="b")))
    applied(one, group(*[(f"window/{number}", b'{"v":2}') for number in range(1200)]))
    assert len(list(one.apply(tick(5 * S), 1))) >= 2
    assert one.ledger["reading.emitted"] == 3600


def test_finishing_closes_windows_and_seals_all_and_the_successor_carries_the_books_on() -> None:
    old = machine()
    applied(old, group(("window/a", b'{"v":2}'), ("json/a", b'{"v":2}'), ("timed/a", b'{"t":1780000000000,"v":1}')))
    batches = old.finish(NOW + 1, 1).batches
    assert [(batch.id.lane, batch.readings) for batch in batches] == [("a", 1), ("b", 4)]
    assert ledger.residuals(old.ledger, 0) == (0, 0)
    new = Pipeline(ROUTES[5:], LANES[:1], schema.Broker(), "node", 1)
    new.succeed(old)
    applied(new, group(*[("json/a", b'{"v":1}')] * 7))
    assert new.ledger["message.received"] == 10
    assert new.sequences == {"a": 2}
    assert old.ledger["message.received"] == 3


def test_a_new_epoch_and_sequence_hold_for_the_batches_to_come() -> None:
    one = machine()
    one.epoch = 9
    one.resume_after("a", 41, 500)
    (batch,) = applied(one, group(*[("json/a", b'{"v":1}')] * 7)).batches
    assert (one.epoch, batch.id.epoch, batch.id.sequence, batch.readings_before) == (9, 9, 42, 500)


def test_slices_are_bounded_by_messages_and_by_bytes() -> None:
    small = list(module._slices([b"x"] * 600))
    assert small == [(0, 256), (256, 512), (512, 600)]
    large = list(module._slices([b"x" * 20_000] * 5))
    assert large == [(0, 2), (2, 4), (4, 5)]
    assert list(module._slices([])) == []
    assert list(module._slices([b"x" * 9_000_000])) == [(0, 1)]


@pytest.mark.parametrize(("topics", "fields", "slices"), [(700, 1, 2), (60, 100, 4)])
def test_windows_that_fall_due_together_close_in_slices(topics: int, fields: int, slices: int) -> None:
    one = machine(lanes=(LANES[0], schema.Lane(name="b", linger_ns=900 * S)))
    payload = json.dumps({f"f{number}": number for number in range(fields)}).encode()
    applied(one, group(*[(f"window/{number}", payload) for number in range(topics)]))
    counts = [0, *(one.ledger[ledger.EMITTED] for _ in one.apply(tick(10 * S), 1))]
    assert len(counts) - 1 == slices, "what is left is not worth a slice of its own"
    assert one.ledger[ledger.EMITTED] == 3 * topics * fields
    assert max(after - before for before, after in itertools.pairwise(counts)) <= module.SLICE_EMITTED_MAX + 3 * fields


def test_topics_beyond_the_bound_of_a_route_are_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Samplers.__init__, "__defaults__", (2,))
    one = machine()
    applied(one, group(*[(f"steps/{number}", b'{"v":2}') for number in range(3)]))
    assert one.ledger["message.quarantined.too_many_topics"] == 1
    applied(one, group(*[(f"json/{number}", b'{"v":2}') for number in range(100)]))
    assert one.ledger["message.decoded"] == 102


def test_text_counts_for_the_size_of_a_batch() -> None:
    one = machine()
    text = ("scalar/a", "ä".encode() * 500)
    (batch,) = applied(one, group(*[text] * 3)).batches
    assert batch.readings == 3


TOPICS = ["timed/a", "steps/a", "steps/b", "window/a", "window/b", "cbor/a", "scalar/a", "json/a", "none", "json/+"]
PAYLOADS = st.one_of(
    st.binary(max_size=12),
    st.fixed_dictionaries(
        {},
        optional={
            "v": st.integers(-3, 9) | st.floats(-5, 5),
            "s": st.text(max_size=3),
            "t": st.integers(NOW // 10**6 - 3000, NOW // 10**6 + 3000) | st.none(),
            "b": st.fixed_dictionaries({"c": st.booleans()}),
        },
    ).map(lambda row: json.dumps(row).encode()),
    st.fixed_dictionaries({"a": st.integers(0, 3)}).map(cbor2.dumps),
)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(TOPICS), PAYLOADS, st.integers(0, 6), st.sampled_from([0, QOS1, QOS1 | DUPLICATE])),
    max_size=12,
)
STEPS = st.lists(
    st.tuples(st.integers(0, 4 * S), st.none() | MESSAGES, st.integers(0, 1), st.booleans()), min_size=1, max_size=10
)


def timeline(steps) -> list:
    """Return entries from (pause, messages or a tick, whether the connection is a new one, whether it resumed)."""
    entries, at, connection = [], 0, 1
    for pause_ns, messages, is_new, resumed in steps:
        at += pause_ns
        connection += is_new
        if messages is None:
            entries.append(tick(at))
            continue
        ids = [packet_id if flags else 0 for _, _, packet_id, flags in messages]
        entries.append(
            MessageGroup(
                NOW + at,
                at,
                CLOCK_SYNCHRONISED,
                connection,
                resumed,
                [topic for topic, *_ in messages],
                [payload for _, payload, *_ in messages],
                ids,
                [flags if packet_id else 0 for packet_id, (*_, flags) in zip(ids, messages, strict=True)],
                {},
            )
        )
    return entries


def recorded(one: Pipeline, entries, position: int) -> tuple[list[bytes], list[Quarantined]]:
    """Return what entries make, in a form that compares to the last bit, topic and field order included."""
    output = applied(one, *entries, position=position)
    return [frozen(batch) for batch in output.batches], output.quarantined


def frozen(batch: OpenBatch) -> bytes:
    return msgspec.msgpack.encode(
        (batch.id, batch.rows, batch.readings, batch.readings_before, batch.ledger, batch.sealed_ns, batch.clock)
    )


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_a_replay_from_any_checkpoint_makes_identical_batches(steps) -> None:
    entries = timeline(steps)
    one, whole, states = machine(), [], []
    for position, entry in enumerate(entries):
        states.append(list(one.state_slices()))
        whole.append(recorded(one, [copy.deepcopy(entry)], position))
    end = (list(one.state_slices()), frozen_finish(one))
    for position, state in enumerate(states):
        again = machine()
        again.restore(state)
        replayed = [recorded(again, [entry], number) for number, entry in enumerate(entries[position:], position)]
        assert replayed == whole[position:]
        assert (list(again.state_slices()), frozen_finish(again)) == end


def frozen_finish(one: Pipeline) -> list[bytes]:
    batches = one.finish(NOW + 10**12, 10**12).batches
    assert ledger.residuals(one.ledger, 0) == (0, 0)
    assert one.open_readings == 0
    return [frozen(batch) for batch in batches]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TOPICS) | st.text(max_size=6), st.binary(max_size=40)), max_size=30))
def test_whatever_comes_is_decided_and_the_books_balance(messages) -> None:
    one = machine()
    applied(one, group(*messages), tick(100 * S))
    assert one.ledger["message.received"] == len(messages)
    assert one.open_readings == 0


@pytest.mark.parametrize(
    ("options", "largest"),
    [
        ({"decoder": "csv"}, 128 * 1024),
        ({"rows": "."}, 128 * 1024),
        ({"decoder": "raw"}, 200_000),
        ({"decoder": "csv", "payload_bytes_max": 1_000}, 1_000),
        ({"decoder": "csv", "payload_bytes_max": 190_000}, 190_000),
        ({"decoder": "csv", "payload_bytes_max": 1_000_000}, 200_000),
    ],
)
def test_the_bound_on_payloads_is_the_routes_and_never_above_the_brokers(options, largest) -> None:
    route = schema.Route(name="r", topics=("a",), lane=LANES[0].name, **options)
    one = machine((route,), payload_bytes_max=200_000)
    found = applied(one, group(("a", b"x" * largest), ("a", b"x" * (largest + 1)))).quarantined
    assert [len(kept.payload) + kept.cut_bytes for kept in found if kept.reason == "payload_too_large"] == [largest + 1]


def test_an_entry_that_flushes_seals_what_is_open_and_the_next_one_does_not() -> None:
    one, flushing = machine(), group(("json/a", b'{"v": 1}'))
    flushing.pressure = (FLUSH,)
    assert [batch.readings for batch in applied(one, flushing).batches] == [1]
    assert applied(one, group(("json/a", b'{"v": 2}'))).batches == []
    idle = tick(5)
    idle.pressure = (FLUSH,)
    assert [batch.readings for batch in applied(one, idle).batches] == [1]
    assert applied(one, idle).batches == []


def test_a_lane_that_does_not_linger_is_sealed_at_the_end_of_each_entry_and_no_other_lane_with_it() -> None:
    lanes = (schema.Lane(name="a", linger_ns=0), schema.Lane(name="b", linger_ns=S))
    one = machine(lanes=lanes)
    messages = [("json/a", b'{"v": 1}')] * (module.SLICE_MESSAGES_MAX + 1)
    found = applied(one, group(*messages, ("scalar/b", b"2"), at=5), group(("json/a", b'{"v": 2}'), at=6))
    assert [(batch.id.lane, batch.id.sequence, batch.readings) for batch in found.batches] == [
        ("a", 1, module.SLICE_MESSAGES_MAX + 1),
        ("a", 2, 1),
    ], "one batch for each entry, however many slices it was taken in"
    assert one.deadline == 5 + S, "no tick is needed for what does not linger"
    (late,) = applied(one, tick(5 + S)).batches
    assert late.id.lane == "b"


def test_a_window_that_a_tick_closes_goes_at_once_to_a_lane_that_does_not_linger() -> None:
    one = machine(lanes=(schema.Lane(name="a"), schema.Lane(name="b", linger_ns=0)))
    assert applied(one, group(("window/x", b'{"v": 1}'))).batches == []
    (batch,) = applied(one, tick(one.deadline)).batches
    assert (batch.id.lane, batch.readings) == ("b", 3)
