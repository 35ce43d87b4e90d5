"""Pressure comes and goes with hysteresis, and a route leaves out more while it stands."""

from __future__ import annotations

import pytest

from gateway.config import schema
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.pressure import Pressure, presses
from gateway.process.pipeline import Pipeline

S = 10**9
OPTIONS = schema.Pressure(ring_high=0.8, ring_low=0.5, link_after_ns=10 * S, link_clear_ns=5 * S)


def test_a_ring_is_under_pressure_from_high_until_low() -> None:
    gauge, seen = Pressure(OPTIONS), []
    for share in (0.7, 0.8, 0.9, 0.5, 0.49, 0.7, 1.0):
        gauge.look(0, {"a": share, "b": 0.1}, is_linked=True)
        seen.append(gauge.words)
    ring = ("ring:a",)
    assert seen == [(), ring, ring, ring, (), (), ring]


def test_a_link_must_be_away_and_back_for_long_enough() -> None:
    gauge, seen = Pressure(OPTIONS), {}
    linked = [second not in range(3, 20) and second not in range(22, 24) for second in range(40)]
    for second, is_linked in enumerate(linked):
        gauge.look(second * S, {}, is_linked=is_linked)
        seen[second] = gauge.words
    stands = [second for second, words in seen.items() if words]
    assert stands == list(range(13, 29)), "away from 3, and back for good from 24"
    assert {words for words in seen.values() if words} == {("link",)}


def test_memory_stands_as_long_as_it_is_tight() -> None:
    gauge = Pressure(OPTIONS)
    gauge.look(0, {"a": 0.9}, is_linked=True, is_tight=True)
    assert gauge.words == ("ring:a", "memory")
    gauge.look(1, {"a": 0.9}, is_linked=True)
    assert gauge.words == ("ring:a",)


@pytest.mark.parametrize(
    ("when", "words", "is_pressed"),
    [
        (("memory",), ("ring:a", "memory"), True),
        (("ring", "link"), ("memory",), False),
        (("ring", "link"), ("ring:a",), True),
        (("ring", "link"), ("ring:b",), False),
        (("link",), ("ring:a",), False),
        (("link",), ("ring:b", "link"), True),
        (("ring",), ("link",), False),
        ((), ("ring:a", "link"), False),
    ],
)
def test_a_route_minds_its_own_lane_and_what_it_names(when, words, is_pressed) -> None:
    assert presses(when, "a", words) is is_pressed


def test_while_pressure_stands_more_is_left_out_and_counted() -> None:
    minded = schema.UnderPressure(sample=schema.Sample(every=3))
    route = schema.Route(name="raw", topics=("#",), lane="a", under_pressure=minded, sample=schema.Sample(every=2))
    pipeline = Pipeline((route,), (schema.Lane(name="a"),), schema.Broker(), "n", 1)
    out = []
    for number in range(60):
        words = ("ring:a",) if 20 <= number < 44 else ()
        group = MessageGroup(
            number, number, CLOCK_SYNCHRONISED, 1, False, ["t"], [b'{"v":1}'], [1], [QOS1], {}, pressure=words
        )
        before = pipeline.open_readings
        for _ in pipeline.apply(group, number):
            pass
        out.append(pipeline.open_readings - before)
        assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    assert [sum(out[:20]), sum(out[20:44]), sum(out[44:])] == [10, 4, 8]
    assert pipeline.ledger["reading.under_pressure"] == 8
    assert pipeline.ledger["reading.sampled_out"] == 30
