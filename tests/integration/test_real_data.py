"""A real day of 20 sensors through the whole system, compared with an independent computation of what must arrive.

Two mosquittos: the site's own, and the region's with mTLS. Each sensor has a client of its own kind (MQTT 3.1.1 or 5,
QoS 0 or 1, JSON, CBOR or a bare value) and its minutes are sent as fast as the broker takes them, event time kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import cbor2

from gateway.demo.pki import write_pki
from tests.support import oracle, surfrad
from tests.support.mosquitto import Mosquitto
from tests.support.oracle import Point
from tests.support.sensors import PahoSensor
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60 * 10**9
MS = 10**6
DAY = 24 * 60 * MINUTE

FLAGGED = ("temp", "rh", "uvb", "par")
EVERY = ("windspd", "dw_casetemp")
INTERVAL = ("winddir", "uw_casetemp")
DEADBAND = ("dw_solar", "uw_solar", "direct_n", "diffuse")
WINDOW = ("pressure", "netir", "totalnet", "netsolar")
CBOR = ("dw_ir", "uw_ir")
SCALAR = ("dw_dometemp", "uw_dometemp")

TIME = """
[route.time]
field = "t"
unit = "ms"
"""


def route(name: str, options: str, tables: str = TIME) -> str:
    """Return a `[[route]]` for the sensors below one level of topic."""
    return f'[[route]]\nname = "{name}"\ntopics = ["{name}/+"]\nlane = "telemetry"\n{options}\n{tables}\n'


ROUTES = "".join(
    [
        route("flagged", 'keep = "value > -9000 and flag == 0"'),
        route("every", "", TIME + "[route.sample]\nevery = 3\n"),
        route("interval", "", TIME + '[route.sample]\ninterval = "5m"\n'),
        route("deadband", "", TIME + '[route.sample]\nsilence = "30m"\n[route.sample.deadband]\nvalue = 5.0\n'),
        route(
            "window",
            "",
            TIME + '[route.window]\nsize = "10m"\nlateness = "2m"\nidle = "1h"\n'
            'functions = ["count", "sum", "min", "max", "mean", "first", "last"]\n',
        ),
        route("cbor", 'decoder = "cbor"'),
        route("scalar", 'decoder = "scalar"\nqos = 0', ""),
    ]
)


class Sensor(NamedTuple):
    """One sensor: where and how it speaks, and what the region must hold of it: field → points."""

    name: str
    topic: str
    qos: int
    version: int
    payloads: list[bytes]
    expected: dict[str, list[Point]]


def sensors() -> list[Sensor]:
    """Return all 20 sensors, each with its whole day."""
    day = surfrad.observations()
    kinds = {
        "flagged": (FLAGGED, flagged),
        "every": (EVERY, lambda seen: plain(seen, oracle.every(points(seen), 3))),
        "interval": (INTERVAL, lambda seen: plain(seen, oracle.at_intervals(points(seen), 5 * MINUTE))),
        "deadband": (DEADBAND, lambda seen: plain(seen, oracle.outside_deadband(points(seen), 5.0, 30 * MINUTE))),
        "window": (WINDOW, windowed),
        "cbor": (CBOR, encoded_as_cbor),
        "scalar": (SCALAR, bare),
    }
    found = []
    for kind, (names, make) in kinds.items():
        for name in names:
            number = len(found)
            payloads, expected = make(day[name])
            qos = 0 if kind == "scalar" else 1
            found.append(Sensor(name, f"{kind}/{name}", qos, 4 + number % 2, payloads, expected))
    assert sorted(sensor.name for sensor in found) == sorted(surfrad.SENSORS)
    return found


def points(seen: list[surfrad.Observation]) -> list[Point]:
    return [Point(one.time_ns, one.value) for one in seen]


def as_json(seen: list[surfrad.Observation], *, flag: bool = False) -> list[bytes]:
    rows = ({"t": one.time_ns // MS, "value": one.value} | ({"flag": one.flag} if flag else {}) for one in seen)
    return [json.dumps(row).encode() for row in rows]


def plain(seen: list[surfrad.Observation], kept: list[Point]) -> tuple[list[bytes], dict[str, list[Point]]]:
    return as_json(seen), {"value": kept}


def flagged(seen: list[surfrad.Observation]) -> tuple[list[bytes], dict[str, list[Point]]]:
    kept = [one for one in seen if one.value > -9000 and one.flag == 0]
    return as_json(seen, flag=True), {
        "value": points(kept),
        "flag": [Point(one.time_ns, one.flag) for one in kept],
    }


def windowed(seen: list[surfrad.Observation]) -> tuple[list[bytes], dict[str, list[Point]]]:
    """Swap some neighbours, hold some back too long, and end with a reading a day later, which closes all before it."""
    order = list(seen)
    for index in range(5, len(order) - 1, 7):
        order[index], order[index + 1] = order[index + 1], order[index]
    for index in range(100, len(order) - 40, 100):
        order.insert(index + 30, order.pop(index))
    order.append(surfrad.Observation(seen[-1].time_ns + DAY, seen[-1].value, 0))
    result = oracle.windows(points(order), 10 * MINUTE, 2 * MINUTE)
    assert result.late > 10
    expected = defaultdict(list)
    for start, values in sorted(result.closed.items()):
        for function, value in values.items():
            expected[f"value.{function}"].append(Point(start, value))
    return as_json(order), dict(expected)


def encoded_as_cbor(seen: list[surfrad.Observation]) -> tuple[list[bytes], dict[str, list[Point]]]:
    rows = [{"t": one.time_ns // MS, "deep": {"er": [one.value, one.flag]}} for one in seen]
    return [cbor2.dumps(row) for row in rows], {
        "deep.er.0": points(seen),
        "deep.er.1": [Point(one.time_ns, one.flag) for one in seen],
    }


def bare(seen: list[surfrad.Observation]) -> tuple[list[bytes], dict[str, list[Point]]]:
    return [str(one.value).encode() for one in seen], {"value": points(seen)}


def play(port: int, day: list[Sensor]) -> int:
    """Publish everything, minute by minute, each sensor on its own connection; return the number of messages."""
    with ExitStack() as stack:
        clients = [
            (sensor, stack.enter_context(PahoSensor(port, f"sensor-{sensor.name}", sensor.version))) for sensor in day
        ]
        longest = max(len(sensor.payloads) for sensor in day)
        for minute in range(longest):
            for sensor, client in clients:
                if minute < len(sensor.payloads):
                    client.publish(sensor.topic, sensor.payloads[minute], sensor.qos)
                    client.wait_until_at_most(50)
        for _, client in clients:
            client.wait_until_at_most(0)
    return sum(len(sensor.payloads) for sensor in day)


def test_a_real_day_arrives_as_an_independent_computation_says(tmp_path: Path) -> None:
    day = sensors()
    pki = tmp_path / "pki"
    write_pki(pki)
    with ExitStack() as stack:
        local = stack.enter_context(Mosquitto(tmp_path / "local", max_queued_messages=0))
        central = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki), max_queued_messages=0))
        site = stack.enter_context(Site(tmp_path, ROUTES, broker_port=local.port, region_port=central.port, pki=pki))
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        messages = play(local.port, day)
        site.wait_received(messages)
        wait_for(lambda: everything_arrived(site), "everything sealed has arrived", 30.0)
        books, found = site.status(), site.readings()
        assert sorted(site.ndjson()) == sorted(found)
    check(day, found)
    assert books["residual"] == {"messages": 0, "readings": 0}
    ledger = books["ledger"]
    assert ledger["message.received"] == ledger["message.decoded"] == messages
    late = sum(
        oracle.windows(decoded(sensor), 10 * MINUTE, 2 * MINUTE).late for sensor in day if "window" in sensor.topic
    )
    assert ledger["reading.late"] == late
    assert ledger["reading.sealed"] == len(found)


def decoded(sensor: Sensor) -> list[Point]:
    rows = [json.loads(payload) for payload in sensor.payloads]
    return [Point(row["t"] * MS, row["value"]) for row in rows]


def everything_arrived(site: Site) -> bool:
    """Whether what the node sealed is in the receiver's table, and nothing is left to seal."""
    status = site.status()
    return status["open_readings"] == 0 and status["ledger"]["reading.sealed"] == len(site.readings())


def check(day: list[Sensor], found: list) -> None:
    """Compare series by series; a bare value carries no time, so there only order and values can be compared."""
    series = defaultdict(list)
    for one in found:
        series[one.topic, one.field].append(Point(one.time_ns, one.value))
    for sensor in day:
        for field, expected in sensor.expected.items():
            arrived = series.pop((sensor.topic, field), [])
            if "scalar" in sensor.topic:
                assert [one.value for one in arrived] == [one.value for one in expected], sensor.topic
                assert all(before.time_ns <= after.time_ns for before, after in pairwise(arrived))
            else:
                assert sorted(arrived) == sorted(expected), (sensor.topic, field)
    assert not series, f"series that nobody expected: {list(series)}"
