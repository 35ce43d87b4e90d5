"""What births teach is remembered within bounds, forgotten in time, and survives a restart."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode.sparkplug.memory import REQUESTS_MAX
from gateway.errors import DecodeError
from tests.support import tahu
from tests.support.edge_node import (
    BOOLEAN,
    DBIRTH,
    DDATA,
    DDEATH,
    DOUBLE,
    INT32,
    NBIRTH,
    NDATA,
    NDEATH,
    TOPICS,
    S,
    birth,
    data,
    decoder,
    metric,
    outcome,
    payload,
    refused,
    rows_of,
)


def test_a_gap_asks_for_a_rebirth_again_and_again_until_it_comes() -> None:
    sparkplug = decoder(rebirth_interval_ns=60 * S)
    sparkplug.decode(birth(1, seq=255), NBIRTH, 0)
    sparkplug.decode(data(1, seq=0), NDATA, 1 * S)
    assert sparkplug.take_requests() == []
    assert rows_of(sparkplug.decode(data(1, seq=2), NDATA, 2 * S)) == [{"m1": 5}]
    (request,) = sparkplug.take_requests()
    assert request.topic == "spBv1.0/g/NCMD/e"
    said = tahu.parsed(request.payload)
    assert (said.timestamp, said.HasField("seq")) == (2_000, False)
    assert [(m.name, m.datatype, m.boolean_value, m.timestamp) for m in said.metrics] == [
        ("Node Control/Rebirth", BOOLEAN, True, 2_000)
    ]
    sparkplug.decode(data(1, seq=3), NDATA, 61 * S)
    assert sparkplug.take_requests() == []
    sparkplug.decode(data(1, seq=4), NDATA, 62 * S)
    assert len(sparkplug.take_requests()) == 1
    sparkplug.decode(birth(1, seq=0), NBIRTH, 63 * S)
    sparkplug.decode(data(1, seq=1), NDATA, 200 * S)
    assert sparkplug.take_requests() == []
    assert sparkplug.memory.gaps == 1


def test_a_wall_clock_that_was_put_back_does_not_silence_requests() -> None:
    sparkplug = decoder()
    refused(sparkplug, data(1), NDATA, 10**18)
    refused(sparkplug, data(1), NDATA, 5)
    assert len(sparkplug.take_requests()) == 2


def test_messages_of_devices_count_in_the_sequence_of_their_edge_node() -> None:
    sparkplug = decoder()
    sparkplug.decode(birth(1), NBIRTH, 0)
    sparkplug.decode(payload(metric("p", alias=9, datatype=DOUBLE, double_value=1.5), seq=1), DBIRTH, 0)
    assert rows_of(sparkplug.decode(payload(metric(alias=9, double_value=2.5), seq=2), DDATA, 0)) == [{"p": 2.5}]
    sparkplug.decode(data(1, seq=3), NDATA, 0)
    sparkplug.decode(payload(seq=4), DDEATH, 0)
    assert (sparkplug.memory.gaps, sparkplug.take_requests()) == (0, [])
    assert refused(sparkplug, payload(metric(alias=9, double_value=2.5), seq=5), DDATA) == "birth_missing"
    assert len(sparkplug.take_requests()) == 1


@pytest.mark.parametrize(
    "second",
    [
        birth(2),
        payload(metric("a", alias=1, datatype=3), metric("b", alias=1, datatype=3), seq=0),
        payload(metric(datatype=3, int_value=1), seq=0),
        b"\x12\x02\x0a\x05",
    ],
)
def test_a_birth_forgets_what_earlier_ones_said_even_when_it_cannot_be_read(second) -> None:
    sparkplug = decoder()
    sparkplug.decode(birth(1), NBIRTH, 0)
    sparkplug.decode(payload(metric("p", alias=9, datatype=DOUBLE), seq=1), DBIRTH, 0)
    try:
        sparkplug.decode(second, NBIRTH, 0)
    except DecodeError:
        assert second != birth(2)
    assert refused(sparkplug, data(1), NDATA) == "birth_missing"
    assert refused(sparkplug, payload(metric(alias=9, double_value=1.0)), DDATA) == "birth_missing"
    assert len(sparkplug.take_requests()) == 1


def test_a_birth_of_a_device_that_cannot_be_read_forgets_what_was_known_of_the_device_alone() -> None:
    sparkplug = decoder()
    sparkplug.decode(birth(1), NBIRTH, 0)
    sparkplug.decode(payload(metric("p", alias=9, datatype=DOUBLE), seq=1), DBIRTH, 0)
    assert refused(sparkplug, payload(metric(datatype=DOUBLE), seq=2), DBIRTH) == "name_missing"
    assert refused(sparkplug, payload(metric(alias=9, double_value=1.0), seq=3), DDATA) == "birth_missing"
    assert rows_of(sparkplug.decode(data(1, seq=4), NDATA, 0)) == [{"m1": 5}]


def test_values_that_cannot_be_read_do_not_undo_what_a_birth_taught() -> None:
    sparkplug = decoder()
    said = payload(metric("x", alias=1, datatype=DOUBLE, double_value=float("nan")), seq=0)
    assert refused(sparkplug, said, NBIRTH) == "not_finite"
    assert rows_of(sparkplug.decode(payload(metric(alias=1, double_value=1.5), seq=1), NDATA, 0)) == [{"x": 1.5}]
    assert sparkplug.take_requests() == []


def test_a_death_ends_what_is_known_and_one_of_an_earlier_session_does_not() -> None:
    sparkplug = decoder()
    sparkplug.decode(birth(1, bd_seq=4), NBIRTH, 0)
    death = payload(metric("bdSeq", long_value=3))
    assert refused(sparkplug, death, NDEATH) == "stale_death"
    assert rows_of(sparkplug.decode(data(1), NDATA, 0)) == [{"m1": 5}]
    death = payload(metric("bdSeq", long_value=4), timestamp=77)
    assert sparkplug.decode(death, NDEATH, 0) == [("sparkplug", None, {"online": False, "bd_seq": 4})]
    assert refused(sparkplug, data(1, seq=2), NDATA) == "birth_missing"


def test_data_that_says_name_and_type_itself_is_taken_without_a_birth_which_is_asked_for() -> None:
    sparkplug = decoder()
    said = payload(metric("x", datatype=INT32, int_value=2**32 - 1), seq=9)
    assert rows_of(sparkplug.decode(said, NDATA, 0)) == [{"x": -1}]
    assert len(sparkplug.take_requests()) == 1


def test_the_number_of_edge_nodes_is_bounded_and_who_was_silent_longest_is_forgotten() -> None:
    sparkplug = decoder(nodes_max=3)
    for edge in "abc":
        sparkplug.decode(birth(1), f"spBv1.0/g/NBIRTH/{edge}", 0)
    sparkplug.decode(data(1), "spBv1.0/g/NDATA/a", 0)
    sparkplug.decode(birth(1), "spBv1.0/g/NBIRTH/d", 0)
    assert (len(sparkplug.memory), sparkplug.memory.forgotten) == (3, 1)
    assert rows_of(sparkplug.decode(data(1, seq=2), "spBv1.0/g/NDATA/a", 0)) == [{"m1": 5}]
    assert refused(sparkplug, data(1), "spBv1.0/g/NDATA/b") == "birth_missing"


def test_the_number_of_metrics_is_bounded_over_all_edge_nodes_and_within_one() -> None:
    sparkplug = decoder(metrics_max=20)
    for edge in range(10):
        sparkplug.decode(birth(*range(5)), f"spBv1.0/g/NBIRTH/{edge}", 0)
        assert sparkplug.memory.metrics <= 20
    assert len(sparkplug.memory) == 2
    for device in range(10):
        sparkplug.decode(payload(metric("x", alias=1, datatype=3)), f"spBv1.0/g/DBIRTH/9/{device}", 0)
        sparkplug.decode(
            payload(*[metric("x", alias=n, datatype=3) for n in range(9)]), f"spBv1.0/g/DBIRTH/9/n{device}", 0
        )
        assert sparkplug.memory.metrics <= 20
    kept = [record for record in sparkplug.state() if record[0] == "m"]
    assert (len(sparkplug.memory), len(kept) <= 20) == (1, True)
    assert refused(sparkplug, birth(*range(20)), NBIRTH) == "too_many_metrics"


def test_requests_that_nobody_takes_are_bounded() -> None:
    sparkplug = decoder(nodes_max=5_000)
    for edge in range(REQUESTS_MAX + 10):
        refused(sparkplug, data(1), f"spBv1.0/g/NDATA/{edge}")
    assert len(sparkplug.take_requests()) == REQUESTS_MAX
    refused(sparkplug, data(1), f"spBv1.0/g/NDATA/{REQUESTS_MAX + 9}")
    assert len(sparkplug.take_requests()) == 1


SEQS = st.integers(0, 3)
METRICS = st.builds(
    lambda name, alias, datatype, value: metric(
        **({"name": name} if name else {}),
        **({} if alias is None else {"alias": alias}),
        **({} if datatype is None else {"datatype": datatype}),
        **value,
    ),
    st.sampled_from(["", "a", "b", "c"]),
    st.none() | st.integers(0, 3),
    st.sampled_from([None, INT32, DOUBLE, BOOLEAN]),
    st.sampled_from([{"int_value": 7}, {"double_value": 1.5}, {"boolean_value": True}, {}]),
)
MESSAGES = st.lists(
    st.tuples(
        st.builds(lambda ms, seq: payload(*ms, seq=seq), st.lists(METRICS, max_size=4), SEQS), st.sampled_from(TOPICS)
    ),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(MESSAGES, MESSAGES, st.integers(1, 3), st.integers(2, 8), st.integers(1, 5))
def test_a_restored_decoder_goes_on_as_if_nothing_had_happened(before, after, nodes_max, metrics_max, run) -> None:
    options = {"nodes_max": nodes_max, "metrics_max": metrics_max, "rebirth_interval_ns": 4}
    first = decoder(**options)
    for now_ns, (said, topic) in enumerate(before):
        outcome(first, said, topic, now_ns)
    second = decoder(**options)
    records = [msgspec.msgpack.decode(msgspec.msgpack.encode(record)) for record in first.state()]
    for start in range(0, len(records), run):
        second.restore(records[start : start + run])
    assert list(second.state()) == list(first.state())
    assert second.memory.metrics == first.memory.metrics <= metrics_max
    for now_ns, (said, topic) in enumerate(after, len(before)):
        assert outcome(second, said, topic, now_ns) == outcome(first, said, topic, now_ns)
