"""Spans on their way to a collector that is there, slow, wrong or away: counted, bounded, never waited for."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gateway.config import schema
from gateway.errors import ConfigError
from gateway.model import BatchId
from gateway.trace import exporter
from gateway.trace.context import Context, root_of
from gateway.trace.exporter import WAITING_MAX, Exporter
from gateway.trace.spans import Span
from tests.support.otlp_collector import Collector
from tests.support.waiting import wait_for

IDENTITY = BatchId("node-1", "telemetry", 1, 1)


def span(number: int = 1, fault: str = "") -> Span:
    root = root_of(IDENTITY)
    return Span(
        "send", Context(root.trace_id, number), root.span_id, 10**18, 10**18 + 5, {"edge.lane": "a"}, "producer", fault
    )


def exporting(collector: Collector, **options: object) -> Exporter:
    return Exporter(schema.Trace(endpoint=collector.endpoint, **options), {"service.name": "edge-gateway"})


def test_a_span_arrives_as_it_was_made(tmp_path) -> None:
    (tmp_path / "token").write_text("abcdefabcdef\n", "ascii")
    with Collector() as collector:
        made = exporting(collector, token_file=str(tmp_path / "token"))
        made.put(span(7, "refused with abcdefabcdef"))
        made.close()
        (found,) = collector.spans
        assert (found.service, found.name, found.span) == ("edge-gateway", "send", "0000000000000007")
        assert (found.trace, found.parent) == (
            str(root_of(IDENTITY)).split("-")[1],
            str(root_of(IDENTITY)).split("-")[2],
        )
        assert (found.start_ns, found.end_ns) == (10**18, 10**18 + 5)
        assert found.fault == "refused with •••"
        assert collector.requests[0]["authorization"] == "Bearer abcdefabcdef"
    assert made.status() == {"spans": 1, "exported": 1, "dropped": 0, "failed": 0, "waiting": 0}


def test_a_collector_that_is_slow_holds_nobody_up_and_what_finds_no_room_is_counted() -> None:
    with Collector() as collector:
        collector.delay_s = 30.0
        made = exporting(collector)
        for number in range(1, 5 * WAITING_MAX):
            made.put(span(number))
        status = made.status()
        assert status["waiting"] <= WAITING_MAX
        assert status["dropped"] >= 5 * WAITING_MAX - 1 - WAITING_MAX - 1024
        assert status["spans"] == 5 * WAITING_MAX - 1
        began = time.monotonic()
        made.close()
        assert time.monotonic() - began < 10
        collector.delay_s = 0.0
        collector._released.set()
        made._thread.join()


def test_a_collector_that_refuses_costs_spans_which_are_counted_and_told_once(caplog) -> None:
    with Collector() as collector:
        collector.status = 400
        made = exporting(collector)
        for number in (1, 2):
            made.put(span(number))
            wait_for(lambda number=number: made.status()["failed"] == number, "it has failed")
        collector.status = 200
        made.put(span(3))
        wait_for(lambda: made.status()["exported"] == 1, "it has arrived")
        made.close()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "the trace collector does not take spans; they are counted and forgotten",
        "the trace collector takes spans again, 2 are lost",
    ]


def test_the_end_does_not_wait_for_a_collector_that_is_away() -> None:
    made = Exporter(schema.Trace(endpoint="http://127.0.0.1:9"), {"service.name": "edge-gateway"})
    made.put(span())
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < 10
    assert made.status()["spans"] == 1


def test_a_token_that_cannot_be_read_is_a_fault_of_the_configuration(tmp_path) -> None:
    options = schema.Trace(endpoint="https://collector.example.org", token_file=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"trace\.token_file: cannot read"):
        exporter.check(options)


def test_without_the_extra_it_is_said_which_one_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(ConfigError) as fault:
        exporter.check(schema.Trace(endpoint="http://127.0.0.1:4318"))
    assert "pip install 'edge-gateway[trace]'" in str(fault.value)


def test_nothing_of_opentelemetry_is_imported_without_trace() -> None:
    script = "import sys, gateway.cli.run, gateway.cli.region\nprint([one for one in sys.modules if 'opentele' in one])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
