"""What `gateway plan` says of recorded input is what a daemon then sends and writes that gets the same input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.pki import write_pki
from gateway.toll import HANDSHAKE_BYTES
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import Stream
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
"""
TOPICS = [f"plant/press-{number}/temperature" for number in range(20)]
STREAM_S = 3
CAPTURE_S = 5
EVENTS = 'format = "events"\nacknowledge = "broker"'

COUNT = 0.25
"""A capture knows when messages came to a fifth of a second, half of the linger here; and machines are busy."""
SIZE = 0.1
"""So may other readings stand in a batch; most of one is its header."""
LINE = 0.15
"""When a kernel acknowledges, and what of it rides on other segments, is up to its timers; certificates differ."""
PAGE_BYTES = 4096


def planned(site: Site, captured: Path) -> dict[str, Any]:
    words = [PROGRAM, "plan", "-c", str(site.configuration), "--capture", str(captured), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, timeout=60).stdout)
    return found


def is_at_rest(site: Site) -> bool:
    status = site.status()
    (lane,), region = status["lanes"], status["regions"]["centre"]
    return not status["open_readings"] and region["cursors"] == {lane["name"]: lane["head"]}


def captured_stream(local: Mosquitto, site: Site, captured: Path, rate: float) -> int:
    """Publish while a capture listens from before the first message until after the last; return how many."""
    words = [PROGRAM, "capture", "-c", str(site.configuration), str(captured), "--for", f"{CAPTURE_S}s"]
    capture = subprocess.Popen(words)
    try:
        wait_for(lambda: "SUBACK to edge-gateway-node-1-capture" in local.log(), "the capture has subscribed")
        stream = Stream(local.port, TOPICS, rate=rate)
        stream.start()
        wait_for(lambda: stream.total >= STREAM_S * rate, "all is published")
        published = sum(stream.stop().values())
        assert capture.wait(30) == 0
    finally:
        capture.kill()
        capture.wait()
    return published


@pytest.mark.parametrize(
    ("rate", "region"), [(30, ""), (600, ""), (300, EVENTS)], ids=["slow batches", "fast batches", "events"]
)
def test_a_plan_says_what_the_daemon_sends_and_writes(tmp_path: Path, rate: int, region: str) -> None:
    pki, lane = tmp_path / "pki", 'linger = "400ms"'
    write_pki(pki)
    with (
        Mosquitto(tmp_path / "local", log_type="all") as local,
        Mosquitto(tmp_path / "central", **region_tls(pki)) as central,
        Site(
            tmp_path, ROUTES, broker_port=local.port, region_port=central.port, pki=pki, region=region, lane=lane
        ) as site,
    ):
        if not region:
            site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the mirror is connected")
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        flash_before = site.status()["flash"]["bytes"]["journal"]
        published = captured_stream(local, site, tmp_path / "captured", rate)
        site.wait_received(published)
        wait_for(lambda: is_at_rest(site), "the region has everything")
        plan = planned(site, tmp_path / "captured")
        found = plan["regions"]["centre"]["lanes"]["telemetry"]
        assert plan["messages"] == plan["lanes"]["telemetry"]["readings"] == published

        status = site.status()
        batches = status["lanes"][0]["head"]
        planned_batches = plan["lanes"]["telemetry"]["batches"]
        assert planned_batches == pytest.approx(batches, rel=COUNT)
        messages = batches / planned_batches if not region else 1
        sent = status["regions"]["centre"]["line"]["month_bytes_by_lane"]["telemetry"]
        assert messages * found["payload_bytes"] == pytest.approx(sent, rel=SIZE)
        journal = status["flash"]["bytes"]["journal"] - flash_before
        assert plan["written"]["journal_flash_bytes"] == pytest.approx(journal, rel=COUNT, abs=PAGE_BYTES)
        overhead = messages * found["overhead_bytes"] + HANDSHAKE_BYTES

        def added() -> int:
            by_lane: dict[str, int] = site.status()["regions"]["centre"]["line"]["month_bytes_by_lane"]
            return by_lane.get("", 0)

        wait_for(lambda: added() >= (1 - LINE) * overhead, "the line has carried what is added to payloads")
        assert added() <= (1 + LINE) * overhead

        assert plan["regions"]["centre"]["day"] is plan["rings"] is plan["flash"] is None
        assert plan["too_short"][0] == f"the input lasts {plan['seconds']:.0f} s, a day needs at least 60 s"
