"""The books of the demo see every kind of loss, and excuse only QoS 0 during a kill."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from gateway.demo import view
from gateway.demo.books import BAD_READINGS, Evidence, Sink, close
from gateway.demo.plant import Sensor, sensors
from gateway.demo.scene import SENTENCES, Look
from gateway.region.reconcile import LaneReport, Report

MESSAGES = 30
WINDOWED = ("vibration",)


def rows_of(sensor: Sensor) -> list[tuple[str, str, object]]:
    """What the region should hold: two readings a message, or one window."""
    if sensor.kind in WINDOWED:
        return [(sensor.topic, "rms.count", sensor.sent)]
    good = [number for number in range(sensor.sent) if number not in sensor.bad]
    return [row for number in good for row in ((sensor.topic, "n", number), (sensor.topic, "value", 1.5))]


def perfect() -> Evidence:
    """Return evidence of a run in which everything arrived."""
    plant = sensors(1)
    for sensor in plant:
        for number in range(MESSAGES):
            sensor.measure(number)
        sensor.acknowledged = sensor.messages if sensor.qos else 0
    rows = [row for sensor in plant for row in rows_of(sensor)]
    messages, garbage = sum(sensor.messages for sensor in plant), sum(sensor.garbage for sensor in plant)
    ledger = {
        "message.received": messages + 5,
        "message.duplicate": 5,
        "message.decoded": messages - garbage,
        "message.quarantined.empty": garbage,
        "reading.filtered": BAD_READINGS * sum(len(sensor.bad) for sensor in plant),
        "reading.sealed": len(rows),
    }
    status = {"ledger": ledger, "residual": {"messages": 0, "readings": 0}, "open_readings": 0}
    filled = {name: Sink() for name in ("sqlite", "ndjson")}
    for sink in filled.values():
        sink.add(rows)
    return Evidence(plant, 0, [], status, Report(lanes=[lane_of(len(rows))], rejected={}), filled, 1000)


def lane_of(readings: int, **changed) -> LaneReport:
    facts = {"received": readings, "lost": {}, "missing": 0, "expected": readings, "unaccounted": 0, **changed}
    return LaneReport(
        node="node-1",
        lane="telemetry",
        epoch=1,
        is_newest_epoch=True,
        watermark=9,
        highest=9,
        batches=9,
        holes=[],
        duplicates=1,
        forks=0,
        ledger={},
        ledger_sequence=9,
        seen_ns=0,
        **facts,
    )


def take(sink: Sink, topic: str, number: int) -> None:
    del sink.numbers[topic, number]
    sink.rows -= 2


def test_a_perfect_run_has_nothing_unaccounted() -> None:
    books = close(perfect())
    assert {name: number for name, number in books.differences.items() if number} == {}
    assert books.unaccounted == 0
    assert books.as_json()["unaccounted"] == 0
    assert books.redelivered == 5


@pytest.mark.parametrize("topic", ["plant/power/03", "plant/climate/03", "plant/state/00"])
def test_a_number_missing_at_the_region_is_seen_whatever_its_qos(topic) -> None:
    evidence = perfect()
    number = next(one for one in range(MESSAGES) if (topic, one) in evidence.sinks["sqlite"].numbers)
    take(evidence.sinks["sqlite"], topic, number)
    books = close(evidence)
    assert books.differences["message numbers missing in sqlite"] == 1
    assert books.unaccounted > 0


def killed(topic: str, *numbers: int) -> Evidence:
    """Numbers 10 to 19 were sent around a kill, and some never came to node and region."""
    evidence = perfect()
    before = {sensor.topic: 10 for sensor in evidence.sensors}
    after = {sensor.topic: 20 for sensor in evidence.sensors}
    for sink in evidence.sinks.values():
        for number in numbers:
            take(sink, topic, number)
    status = {**evidence.status, "ledger": dict(evidence.status["ledger"])}
    gone = 2 * len(numbers)
    status["ledger"]["message.received"] -= len(numbers)
    status["ledger"]["reading.sealed"] -= gone
    report = Report(lanes=[lane_of(evidence.report.lanes[0].received - gone)], rejected={})
    return replace(evidence, kills=[(before, after)], status=status, report=report)


def test_qos_0_lost_in_a_kill_has_its_own_line() -> None:
    books = close(killed("plant/climate/03", 10, 19))
    assert (books.unaccounted, books.qos0_lost_in_the_kill) == (0, 2)


@pytest.mark.parametrize(
    ("topic", "number"), [("plant/climate/03", 9), ("plant/climate/03", 20), ("plant/state/00", 15)]
)
def test_any_other_loss_counts_although_there_was_a_kill(topic, number) -> None:
    books = close(killed(topic, number))
    assert books.qos0_lost_in_the_kill == 0
    assert books.unaccounted > 0


def test_a_reading_that_is_there_twice_is_seen() -> None:
    evidence = perfect()
    evidence.sinks["ndjson"].add([("plant/state/00", "n", 3)])
    books = close(evidence)
    assert books.duplicates_in_sinks == books.differences["readings twice in ndjson"] == 1
    assert books.differences["readings received and not in ndjson"] == -1
    assert books.unaccounted == 2


def test_a_number_that_nobody_sent_is_seen() -> None:
    evidence = perfect()
    evidence.sinks["sqlite"].add([("plant/state/00", "n", MESSAGES + 1), ("ghost", "n", 0)])
    assert close(evidence).differences["numbers in sqlite that nobody sent"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"ledger": {"message.received": 1}},
        {"ledger": {"message.quarantined.empty": 1}},
        {"ledger": {"reading.filtered": 1}},
        {"ledger": {"reading.sealed": 1}},
        {"residual": {"messages": 1, "readings": -1}},
        {"open_readings": 3},
    ],
)
def test_a_difference_at_the_node_is_seen(changed) -> None:
    evidence = perfect()
    status = {**evidence.status, **changed}
    status["ledger"] = dict(evidence.status["ledger"])
    for fate, number in changed.get("ledger", {}).items():
        status["ledger"][fate] += number
    assert close(replace(evidence, status=status)).unaccounted > 0


@pytest.mark.parametrize("changed", [{"missing": 4}, {"unaccounted": -4}, {"expected": 1}, {"received": 1}])
def test_a_difference_at_the_region_is_seen(changed) -> None:
    evidence = perfect()
    lane = lane_of(evidence.report.lanes[0].received, **changed)
    assert close(replace(evidence, report=Report(lanes=[lane], rejected={}))).unaccounted > 0


def test_a_message_that_no_window_counted_is_seen() -> None:
    evidence = perfect()
    evidence.sinks["sqlite"].windowed -= 1
    assert close(evidence).differences["messages not in a window of sqlite"] == 1


def test_the_last_table_names_what_differs() -> None:
    evidence = perfect()
    take(evidence.sinks["sqlite"], "plant/climate/03", 5)
    console = Console(width=120, file=StringIO())
    console.print(view.final(close(evidence)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "difference: message numbers missing in sqlite" in text
    assert "QoS 0 lost in the kill (not promised)" in text


@pytest.mark.parametrize("act", SENTENCES)
def test_every_moment_can_be_shown_whether_the_daemon_answers_or_not(act) -> None:
    console = Console(width=120, file=StringIO())
    lane = {"name": "alarm", "head": 7, "bytes": 1, "bytes_max": 2, "regions": {"centre": {"cursor": 5}}}
    status = {**perfect().status, "rates": {"message.received": 9.6}, "lanes": [lane]}
    looks = [Look(act, 1.0, 45.0), Look(act, 2.0, 45.0, messages=9, status=status, report=perfect().report)]
    for look in looks:
        console.print(view.live(look))
        assert view.line(look).split()[2] == act
        assert act in view.sentence(look)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "simulated" in text
    assert "alarm" in text
