"""What heartbeats cost stands in the plan: those of the silence, and one for each link."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import plan
from gateway.config import schema
from gateway.survey import LaneLine, RegionLine, Survey
from gateway.toll import HANDSHAKE_BYTES, PING_BYTES, heartbeat_toll
from tests.unit.test_plan import configured, group, tried

S = 10**9
FILES = {"host": "localhost", "tls_ca": "a", "tls_certificate": "b", "tls_key": "c"}


def region(**options: Any) -> schema.Region:
    return schema.Region(name="centre", **FILES, **options)


def surveyed(**options: Any) -> Survey:
    entries = [(number, group(number * 1000 * S, ("plant/a", b'{"t": 1}'))) for number in range(4)]
    return tried(configured(region(**options)), entries)[1]


def fixed_bytes(line: RegionLine, **options: Any) -> float:
    return plan.link(region(**options), line, "node-1", ["telemetry"], plan.DAY_S, None).fixed_bytes


def test_a_receiver_that_has_nothing_to_say_of_batches_is_asked_in_the_silence() -> None:
    assert surveyed(heartbeat_ns=300 * S).regions["centre"].heartbeats == 3 * 3, "at 300, 600 and 900 of 1,000 s"
    assert surveyed(heartbeat_ns=0).regions["centre"].heartbeats == 0


def test_heartbeats_of_a_day_and_one_for_its_connection_are_in_the_plan() -> None:
    line = RegionLine({"telemetry": LaneLine(1, 1000, 100)}, pings=0, heartbeats=100)
    cost = heartbeat_toll(region(), "node-1")
    assert fixed_bytes(line, heartbeat_ns=300 * S) == pytest.approx(HANDSHAKE_BYTES + 101 * cost)
    assert fixed_bytes(line, heartbeat_ns=0) == pytest.approx(HANDSHAKE_BYTES)
    assert fixed_bytes(line, acknowledge="broker") == pytest.approx(HANDSHAKE_BYTES), "nobody is asked"


def test_a_radio_that_is_up_now_and_then_asks_once_in_each_window() -> None:
    options = schema.Link(connect=("0 */4 * * *",), connect_for_ns=600 * S)
    line = RegionLine({"telemetry": LaneLine(1, 1000, 100)}, pings=0, heartbeats=100)
    pings = 6 * 40 * PING_BYTES
    cost = heartbeat_toll(region(), "node-1")
    assert fixed_bytes(line, link=options) == pytest.approx(6 * (HANDSHAKE_BYTES + cost) + pings)
