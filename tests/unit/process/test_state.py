"""The state in slices: bounded, complete, and refused where it does not belong."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.errors import StoreError
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process import state as module
from gateway.process.pipeline import Pipeline
from gateway.process.state import Part, restore_slice, slices

S = 10**9
ROUTES = (
    schema.Route(name="band", topics=("band/#",), lane="a", sample=schema.Sample(deadband={"v": 1.0, "s": 0.0})),
    schema.Route(name="window", topics=("window/#",), lane="a", window=schema.Window(size_ns=S, lateness_ns=99 * S)),
    schema.Route(name="raw", topics=("raw/#",), lane="b"),
)
LANES = tuple(schema.Lane(name=name, linger_ns=3600 * S, batch_readings_max=10**6) for name in "ab")


def pipeline(routes=ROUTES, lanes=LANES) -> Pipeline:
    return Pipeline(routes, lanes, schema.Broker(receive_maximum=5000), "node", 1)


def filled(topics: int, rows: int) -> Pipeline:
    """Return a pipeline that remembers so many topics of each kind, each with so many rows or windows."""
    one = pipeline()
    for position in range(rows):
        names = [f"{kind}/{number}" for number in range(topics) for kind in ("band", "window", "raw")]
        payloads = [b'{"v": %d, "s": "text %d"}' % (number + position, position) for number in range(len(names))]
        ids = [number % 65535 + 1 for number in range(len(names))]
        wall_ns = 1_780_000_000 * S + position * S
        group = MessageGroup(
            wall_ns, position * S, CLOCK_SYNCHRONISED, 1, False, names, payloads, ids, [QOS1] * len(ids), {}
        )
        for _ in one.apply(group, position):
            pass
    return one


class Kept:
    """A part whose records are whatever they are."""

    def __init__(self, records: list[tuple[object, ...]]) -> None:
        self.records = records

    def part(self) -> Part:
        return Part(lambda: iter(self.records), lambda records: self.records.extend(map(tuple, records)))


RECORDS = st.lists(st.tuples(st.integers(0, 9)) | st.tuples(st.text(max_size=5), st.binary(max_size=40_000)))


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, max_size=3))
def test_every_part_gets_its_records_back_in_order(parts) -> None:
    before = {str(number): Kept(list(records)) for number, records in enumerate(parts)}
    after = {name: Kept([]) for name in before}
    for each in slices({name: kept.part() for name, kept in before.items()}):
        restore_slice({name: kept.part() for name, kept in after.items()}, each)
    assert {name: kept.records for name, kept in after.items()} == {name: kept.records for name, kept in before.items()}


def test_a_slice_is_bounded_by_records_and_by_bytes() -> None:
    many = Kept([(number,) for number in range(2 * module.SLICE_RECORDS_MAX + 1)])
    large = Kept([(b"x" * 10_000,)] * 20)
    found = [msgspec.msgpack.decode(each) for each in slices({"many": many.part(), "large": large.part()})]
    assert [(name, len(records)) for name, *records in found] == [
        ("many", module.SLICE_RECORDS_MAX),
        ("many", module.SLICE_RECORDS_MAX),
        ("many", 1),
        ("large", 7),
        ("large", 7),
        ("large", 6),
    ]


@pytest.mark.parametrize(("topics", "rows"), [(900, 3), (1, 900)])
def test_a_pipeline_comes_back_from_small_slices_however_its_state_is_shaped(topics, rows) -> None:
    one = filled(topics, rows)
    kept = list(one.state_slices())
    assert len(kept) > 3
    assert max(map(len, kept)) < module.SLICE_BYTES_MAX + 60_000
    again = pipeline()
    again.restore(iter(kept))
    assert list(again.state_slices()) == kept
    assert (again.ledger, again.open_readings, again.deadline) == (one.ledger, one.open_readings, one.deadline)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_state_of_other_routes_is_refused_not_guessed_at(number) -> None:
    kept = list(filled(5, 2).state_slices())
    routes = tuple(
        msgspec.structs.replace(route, sample=schema.Sample(), window=None) if index == number else route
        for index, route in enumerate(ROUTES)
    )
    lanes = LANES[:1] if number == 2 else LANES
    if number == 2:
        routes = tuple(msgspec.structs.replace(route, lane="a") for route in ROUTES)
    with pytest.raises(StoreError, match="does not fit the settings"):
        pipeline(routes, lanes).restore(kept)


@pytest.mark.parametrize("damaged", [b"", b"\xc1", b"\x01", b"\x91\xa4none", b"\x92\xa5books\x91\x01"])
def test_what_is_no_slice_is_refused(damaged) -> None:
    with pytest.raises(StoreError, match="does not fit the settings"):
        pipeline().restore([damaged])
