"""Hold what the plant sent against what the node decided and what lies in the region's sinks.

Nothing here is expected to be zero by construction: each difference compares numbers that different processes counted
by themselves. `unaccounted` is the sum of all differences, signs left out, so that two faults never cancel.

QoS 0 is promised only outside a crash. Its loss is not computed as a rest but found number by number at the region, and
excused only for numbers sent while the daemon was killed (from one second before to its return); any other missing
number counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gateway import ledger as fates
from gateway.demo.plant import BAD_READINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.demo.plant import Sensor
    from gateway.region.reconcile import Report


@dataclass(slots=True)
class Sink:
    """What one sink of the receiver holds: rows, numbers seen by topic, and messages inside windows."""

    rows: int = 0
    numbers: Counter[tuple[str, int]] = field(default_factory=Counter)
    windowed: int = 0

    def add(self, rows: Iterable[tuple[str, str, object]]) -> None:
        """Count (topic, field, value) of every reading."""
        for topic, name, value in rows:
            self.rows += 1
            if name == "n":
                assert isinstance(value, int)
                self.numbers[topic, value] += 1
            elif name == "rms.count":
                assert isinstance(value, int)
                self.windowed += value

    @property
    def twice(self) -> int:
        """Readings that are there more often than once."""
        return sum(times - 1 for times in self.numbers.values())


@dataclass(slots=True)
class Books:
    """All totals. `differences` names each comparison; `unaccounted` is what matters."""

    sent: int = 0
    acknowledged_qos1: int = 0
    sent_qos0: int = 0
    qos0_lost_in_the_kill: int = 0
    received: int = 0
    redelivered: int = 0
    decoded: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    readings: int = 0
    filtered: int = 0
    sampled_out: int = 0
    aggregated: int = 0
    emitted: int = 0
    late: int = 0
    sealed: int = 0
    region_received: int = 0
    region_lost: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    duplicate_batches_refused: int = 0
    sink_rows: dict[str, int] = field(default_factory=dict)
    duplicates_in_sinks: int = 0
    payload_bytes: int = 0
    uplink_bytes: int = 0
    differences: dict[str, int] = field(default_factory=dict)

    @property
    def unaccounted(self) -> int:
        """The sum of all differences, signs left out."""
        return sum(map(abs, self.differences.values()))

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**asdict(self), "unaccounted": self.unaccounted}


@dataclass(slots=True, frozen=True)
class Evidence:
    """What was read from the processes: status of the node, report and sinks of the region, bytes that came over TLS.

    `kills` are pairs of marks (topic → messages numbered so far), before a kill and after the return.
    """

    sensors: Sequence[Sensor]
    unacknowledged: int
    kills: Sequence[tuple[Mapping[str, int], Mapping[str, int]]]
    status: Mapping[str, Any]
    report: Report
    sinks: Mapping[str, Sink]
    uplink_bytes: int


def close(evidence: Evidence) -> Books:
    """Return the totals and every difference."""
    sensors, ledger, lanes = evidence.sensors, evidence.status["ledger"], evidence.report.lanes
    books = Books(
        sent=sum(sensor.messages for sensor in sensors),
        acknowledged_qos1=sum(sensor.acknowledged for sensor in sensors),
        sent_qos0=sum(sensor.messages for sensor in sensors if not sensor.qos),
        received=ledger.get(fates.RECEIVED, 0),
        redelivered=ledger.get(fates.DUPLICATE_MESSAGE, 0),
        decoded=ledger.get(fates.DECODED, 0),
        quarantined=_by_reason(ledger, fates.QUARANTINED),
        readings=ledger.get(fates.READ, 0),
        filtered=ledger.get(fates.FILTERED, 0),
        sampled_out=ledger.get(fates.SAMPLED_OUT, 0),
        aggregated=ledger.get(fates.AGGREGATED, 0),
        emitted=ledger.get(fates.EMITTED, 0),
        late=ledger.get(fates.LATE, 0),
        sealed=ledger.get(fates.SEALED, 0),
        region_received=sum(lane.received for lane in lanes),
        region_lost=dict(sum((Counter(lane.lost) for lane in lanes), Counter())),
        batches=sum(lane.batches for lane in lanes),
        duplicate_batches_refused=sum(lane.duplicates for lane in lanes),
        sink_rows={name: sink.rows for name, sink in evidence.sinks.items()},
        duplicates_in_sinks=sum(sink.twice for sink in evidence.sinks.values()),
        payload_bytes=sum(sensor.payload_bytes for sensor in sensors),
        uplink_bytes=evidence.uplink_bytes,
    )
    books.differences = _differences(evidence, books)
    return books


def _differences(evidence: Evidence, books: Books) -> dict[str, int]:
    sensors, status, lanes = evidence.sensors, evidence.status, evidence.report.lanes
    found = {
        "messages the local broker has not acknowledged": evidence.unacknowledged,
        "messages the local broker had no subscriber for": sum(sensor.unmatched for sensor in sensors),
    }
    books.qos0_lost_in_the_kill = 0
    for name, sink in evidence.sinks.items():
        missing, excused = _missing(sensors, sink, evidence.kills)
        books.qos0_lost_in_the_kill = max(books.qos0_lost_in_the_kill, excused)
        found[f"message numbers missing in {name}"] = missing
        found[f"readings twice in {name}"] = sink.twice
        found[f"numbers in {name} that nobody sent"] = _foreign(sensors, sink)
        found[f"readings received and not in {name}"] = books.region_received - sink.rows
        windowed = sum(sensor.sent for sensor in sensors if sensor.kind == "vibration")
        found[f"messages not in a window of {name}"] = windowed - sink.windowed - books.late
    expected = books.acknowledged_qos1 + books.sent_qos0 - books.qos0_lost_in_the_kill
    bad = sum(len(sensor.bad) for sensor in sensors)
    return {
        **found,
        "messages sent and not received by the node": expected - (books.received - books.redelivered),
        "garbage sent and not quarantined": sum(sensor.garbage for sensor in sensors) - sum(books.quarantined.values()),
        "readings of bad quality not filtered": BAD_READINGS * bad - books.filtered,
        "messages without a fate at the node": status["residual"]["messages"],
        "readings without a fate at the node": status["residual"]["readings"],
        "readings still open at the node": status["open_readings"],
        "readings sealed that the region has not heard of": books.sealed - sum(lane.expected for lane in lanes),
        "readings missing at the region": sum(lane.missing for lane in lanes),
        "readings without a fate at the region": evidence.report.unaccounted,
        "batches the region rejected": sum(evidence.report.rejected.values()),
    }


def _missing(
    sensors: Sequence[Sensor], sink: Sink, kills: Sequence[tuple[Mapping[str, int], Mapping[str, int]]]
) -> tuple[int, int]:
    """Return how many numbers a sink lacks: (of those it must have, of QoS 0 sent during a kill)."""
    missing = excused = 0
    for sensor in sensors:
        if sensor.kind == "vibration":
            continue
        for number in range(sensor.sent):
            if (sensor.topic, number) in sink.numbers or number in sensor.bad:
                continue
            in_a_kill = any(before[sensor.topic] <= number < after[sensor.topic] for before, after in kills)
            if sensor.qos == 0 and in_a_kill:
                excused += 1
            else:
                missing += 1
    return missing, excused


def _foreign(sensors: Sequence[Sensor], sink: Sink) -> int:
    sent = {sensor.topic: sensor.sent for sensor in sensors}
    return sum(not 0 <= number < sent.get(topic, 0) for topic, number in sink.numbers)


def _by_reason(ledger: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {fate.removeprefix(prefix): number for fate, number in ledger.items() if fate.startswith(prefix)}
