"""Payloads with many rows: each goes to its series at its time, and one that cannot be taken refuses the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.config import schema
from gateway.decode import formats
from gateway.decode.contract import Limits, Record, RecordDecoder
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.pipeline import Pipeline

if TYPE_CHECKING:
    from gateway.model import Output

S = 10**9
NOW = 1_780_000_000 * S
LANES = (schema.Lane(name="telemetry", linger_ns=S),)


def lines(route: schema.Route, limits: Limits) -> RecordDecoder:
    """Return a decoder of lines `series time value`; time `-` where none is stated."""

    def decode(payload: bytes, topic: str, arrival_ns: int) -> list[Record]:
        assert topic.startswith("plant/")
        assert arrival_ns == NOW
        found = []
        for line in payload.decode().splitlines():
            series, time, value = line.split(" ")
            found.append(Record(series.strip("."), None if time == "-" else int(time), {"value": int(value)}))
        return found

    assert (route.name, limits.depth_max) == ("raw", 8)
    return decode


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def made(**options: object) -> Pipeline:
        monkeypatch.setitem(formats.RECORD_FORMATS, "lines", lines)  # type: ignore[arg-type]  # a mapping to readers
        route = schema.Route(name="raw", topics=("plant/#",), lane="telemetry", decoder="lines", **options)  # type: ignore[arg-type]
        return Pipeline((route,), LANES, schema.Broker(topic_bytes_max=40), "node-1", 1)

    return made


def applied(pipeline: Pipeline, *payloads: bytes) -> list[Output]:
    number = len(payloads)
    group = MessageGroup(
        NOW, 1, CLOCK_SYNCHRONISED, 1, False, ["plant/a"] * number, list(payloads), [1] * number, [QOS1] * number, {}
    )
    found = [*pipeline.apply(group, 0), pipeline.finish(NOW, 2)]
    assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    return found


def rows(outputs: list[Output]) -> dict[str, list[tuple[int, dict[str, object]]]]:
    found: dict[str, list[tuple[int, dict[str, object]]]] = {}
    for output in outputs:
        for batch in output.batches:
            for topic, (times, each) in batch.rows.items():
                found.setdefault(topic, []).extend(zip(times, each, strict=True))  # type: ignore[arg-type]
    return found


def test_each_record_goes_to_its_series_at_its_time(machine) -> None:
    pipeline = machine()
    found = rows(applied(pipeline, b"x 5 1\ny - 2\n. 7 3\nx 6 4"))
    assert found == {
        "plant/a/x": [(5, {"value": 1}), (6, {"value": 4})],
        "plant/a/y": [(NOW, {"value": 2})],
        "plant/a": [(7, {"value": 3})],
    }
    assert pipeline.ledger["message.decoded"] == 1
    assert pipeline.ledger["reading.decoded"] == 4


def test_steps_remember_each_series_of_a_payload_by_itself(machine) -> None:
    pipeline = machine(sample=schema.Sample(on_change=("value",)))
    found = rows(applied(pipeline, b"x 1 1\ny 1 1\nx 2 1\ny 2 2"))
    assert found == {"plant/a/x": [(1, {"value": 1})], "plant/a/y": [(1, {"value": 1}), (2, {"value": 2})]}
    assert pipeline.ledger["reading.sampled_out"] == 1
    pipeline = machine(window=schema.Window(size_ns=S, functions=("count",)))
    found = rows(applied(pipeline, b"x 1 1\ny 1 1\nx 2 1"))
    assert found == {"plant/a/x": [(0, {"value.count": 2})], "plant/a/y": [(0, {"value.count": 1})]}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"x 1 1\nx %d 2" % (NOW + 3600 * S), "time_ahead"),
        (b"x 1 1\nx %d 2" % 2**70, "time_invalid"),
        (b"x 1 1\n\x00 1 2", "series_invalid"),
        (b"x 1 1\n%s 1 2" % (b"y" * 33), "series_invalid"),
    ],
)
def test_one_record_that_cannot_be_taken_refuses_the_whole_message(machine, payload: bytes, reason: str) -> None:
    pipeline = machine()
    outputs = applied(pipeline, payload, b"x 1 9")
    assert pipeline.ledger[f"message.quarantined.{reason}"] == 1
    assert [one.payload for output in outputs for one in output.quarantined] == [payload]
    assert rows(outputs) == {"plant/a/x": [(1, {"value": 9})]}


def test_a_series_may_hold_what_no_subscription_could(machine) -> None:
    assert list(rows(applied(machine(), b"a+b#1 1 1"))) == ["plant/a/a+b#1"]
