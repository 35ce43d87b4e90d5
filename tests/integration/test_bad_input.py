"""Payloads and topics that no sensor should send: each is decided, counted and visible, and the next good one is taken.

Through a real mosquitto, as a hostile or broken sensor would. What a broker refuses to pass on is in
`test_bad_packets`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import cbor2
import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTES = """
[[route]]
name = "timed"
topics = ["timed/#"]
lane = "telemetry"
[route.time]
field = "t"
unit = "ms"

[[route]]
name = "cbor"
topics = ["cbor/#"]
lane = "telemetry"
decoder = "cbor"

[[route]]
name = "scalar"
topics = ["scalar/#"]
lane = "telemetry"
decoder = "scalar"

[[route]]
name = "json"
topics = ["json/#"]
lane = "telemetry"
fields = []
"""
TEN_YEARS_MS = 10 * 365 * 86400 * 1000

QUARANTINED = {
    "empty": ("json/a", b""),
    "truncated": ("json/a", b'{"value": 1'),
    "trailing": ("json/a", b'{"value": 1} x'),
    "deeply_nested_object": ("json/a", b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "deeply_nested_array": ("json/a", b"[" * 500_000),
    "five_megabytes": ("json/a", b'{"value": "' + b"x" * 5_000_000 + b'"}'),
    "not_utf_8": ("json/a", b'{"value": "\xff\xfe"}'),
    "nan": ("json/a", b'{"value": NaN}'),
    "infinity": ("json/a", b'{"value": -Infinity}'),
    "a_number_that_overflows": ("json/a", b'{"value": 1e999}'),
    "a_huge_integer": ("json/a", b'{"value": 123456789012345678901234567890}'),
    "duplicate_keys": ("json/a", b'{"value": 1, "value": 2}'),
    "an_array_at_the_top": ("json/a", b"[1, 2]"),
    "no_fields": ("json/a", b"{}"),
    "all_null": ("json/a", b'{"value": null}'),
    "too_many_fields": ("json/a", json.dumps({f"f{number}": number for number in range(300)}).encode()),
    "missing_time": ("timed/a", b'{"value": 1}'),
    "time_of_the_wrong_type": ("timed/a", b'{"t": "soon", "value": 1}'),
    "time_that_no_calendar_holds": ("timed/a", b'{"t": 9e300, "value": 1}'),
    "a_clock_ten_years_ahead": ("timed/a", json.dumps({"t": time.time_ns() // 10**6 + TEN_YEARS_MS, "v": 1}).encode()),
    "cbor_empty": ("cbor/a", b""),
    "cbor_truncated": ("cbor/a", cbor2.dumps({"value": [1, 2, 3]})[:-1]),
    "cbor_nan": ("cbor/a", cbor2.dumps({"value": float("nan")})),
    "cbor_nested": ("cbor/a", b"\x81" * 100_000 + b"\x01"),
    "cbor_that_announces_4_gigabytes": ("cbor/a", b"\xa1\x61v\x5a\xff\xff\xff\xff"),
    "cbor_that_is_no_map": ("cbor/a", cbor2.dumps([1])),
    "cbor_with_a_huge_integer": ("cbor/a", cbor2.dumps({"value": 2**200})),
    "scalar_empty": ("scalar/a", b""),
    "scalar_nan": ("scalar/a", b"nan"),
    "scalar_not_utf_8": ("scalar/a", b"\xff\xfe\x00"),
    "a_topic_of_60_kilobytes": ("json/" + "x" * 60_000, b'{"value": 1}'),
}

DECODED = {
    "unicode": ("json/\u00e9\u4e2d\U0001f600", '{"gr\u00f6\u00dfe": "\U0001f600"}'.encode()),
    "mixed_types_of_one_field": ("json/a", b'{"value": "text now"}'),
    "a_field_that_is_missing_in_others": ("json/a", b'{"other": true}'),
    "null_beside_a_value": ("json/a", b'{"value": null, "x": 1}'),
    "the_smallest_integer": ("json/a", b'{"value": -9223372036854775808}'),
    "a_clock_ten_years_behind": ("timed/a", json.dumps({"t": time.time_ns() // 10**6 - TEN_YEARS_MS, "v": 1}).encode()),
    "a_time_before_1970": ("timed/a", b'{"t": -1000, "value": 1}'),
    "empty_levels": ("json//", b'{"value": 1}'),
}


class Bench:
    """One daemon for all cases, and a sensor that sends them."""

    def __init__(self, site: Site, sensor: PahoSensor) -> None:
        self.site = site
        self.sensor = sensor

    def sends(self, messages: list[tuple[str, bytes]]) -> dict[str, int]:
        """Publish, wait until all are decided, and return what changed in the ledger."""
        before = self.site.ledger()
        for topic, payload in messages:
            self.sensor.publish(topic, payload, 1)
        self.sensor.wait_until_at_most()
        self.site.wait_received(before.get("message.received", 0) + len(messages))
        status = self.site.status()
        assert status["residual"] == {"messages": 0, "readings": 0}
        after = status["ledger"]
        return {
            fate: after[fate] - before.get(fate, 0)
            for fate in after
            if fate.startswith("message.") and after[fate] != before.get(fate, 0)
        }


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bad-input")
    with Mosquitto(folder / "local") as broker, Site(folder, ROUTES, broker_port=broker.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(broker.port, "sensor", 5) as sensor:
            yield Bench(site, sensor)
        site.daemon.stop()


GOOD = ("json/good", b'{"value": 1.5}')


@pytest.mark.parametrize(("topic", "payload"), QUARANTINED.values(), ids=QUARANTINED.keys())
def test_what_cannot_be_decoded_is_quarantined_with_its_reason_and_the_next_message_is_taken(
    bench: Bench, topic: str, payload: bytes
) -> None:
    kept = bench.site.status()["quarantine"]["kept"]
    change = bench.sends([(topic, payload), GOOD])
    assert change.pop("message.received") == 2
    assert change.pop("message.decoded") == 1
    (fate,) = change
    assert fate.startswith("message.quarantined.")
    assert change[fate] == 1
    wait_for(lambda: bench.site.status()["quarantine"]["kept"] == kept + 1, "the message is kept aside")


@pytest.mark.parametrize(("topic", "payload"), DECODED.values(), ids=DECODED.keys())
def test_what_is_odd_but_sound_is_decoded(bench: Bench, topic: str, payload: bytes) -> None:
    assert bench.sends([(topic, payload), GOOD]) == {"message.received": 2, "message.decoded": 2}


def test_a_flood_of_retained_messages_on_subscribing_is_taken_whole(tmp_path) -> None:
    count = 2000
    with Mosquitto(tmp_path / "local", max_queued_messages=0) as broker:
        with PahoSensor(broker.port, "sensor", 4) as sensor:
            for number in range(count):
                sensor.publish(f"json/{number}", b'{"value": %d}' % number, 1, retain=True)
            sensor.wait_until_at_most()
        with Site(tmp_path, ROUTES, broker_port=broker.port, broker="receive_maximum = 10") as site:
            site.daemon.start()
            site.wait_received(count)
            status = site.status()
            assert status["ledger"]["message.decoded"] == count
            assert status["residual"] == {"messages": 0, "readings": 0}
            site.daemon.stop()


def test_every_counter_of_a_bad_day_is_in_the_status_that_people_see(bench: Bench) -> None:
    bench.sends([QUARANTINED["nan"], GOOD])
    shown = bench.site.shown_status()
    assert "message.quarantined." in shown or "quarantined" in shown, shown
