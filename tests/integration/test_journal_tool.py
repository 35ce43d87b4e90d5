"""`gateway journal check` beside a busy daemon raises no false alarm; what it calls missing the next start misses."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from gateway.disk import Disk
from gateway.journal.inspect import UNCLEAR, inspect
from tests.support.journals import flip_body, places
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
[journal]
segment_bytes = "64KiB"
checkpoint_bytes_min = "64KiB"
checkpoint_growth = 1
checkpoint_interval = "{interval}"
"""
CHECKS_S = 4.0


def check(site: Site) -> tuple[int, dict[str, Any]]:
    """Run `gateway journal check`, and return its exit code with what it says."""
    command = [PROGRAM, "journal", "check", "--json", "-c", str(site.configuration)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def publish(site: Site, sensor: PahoSensor, numbers: range) -> None:
    for number in numbers:
        sensor.publish("plant/a", json.dumps({"value": number, "text": f"{number * 7919:0200x}"}).encode(), 1)
    site.wait_received(numbers.stop)


def test_nothing_is_called_damaged_while_a_daemon_writes_checkpoints_and_trims(tmp_path: Path) -> None:
    routes = ROUTES.format(interval="1s")
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, routes, broker_port=local.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        assert check(site)[0] == 0
        checks, sent, end = 0, 0, time.monotonic() + CHECKS_S
        with PahoSensor(local.port, "sensor", 5) as sensor:
            while time.monotonic() < end:
                publish(site, sensor, range(sent, sent + 100))
                sent += 100
                for _ in range(10):
                    found = inspect(Disk(), site.state)
                    assert not found.is_damaged, found
                    assert {one.kind for one in found.findings} <= {UNCLEAR}
                    checks += 1
        assert site.status()["journal"]["checkpoints"]["checkpoints"] > 1
        site.daemon.kill()
        assert check(site)[1]["damaged"] is False
        site.daemon.start()
        site.daemon.stop()
        code, said = check(site)
        assert (code, said["findings"]) == (0, [])
        assert said["goes_on_from"] == said["next_position"]
    print(f"{checks} checks beside the daemon")  # noqa: T201  # for people


def test_the_next_start_misses_what_the_check_calls_missing(tmp_path: Path) -> None:
    routes = ROUTES.format(interval="1h").replace('_min = "64KiB"', '_min = "1GiB"')
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, routes, broker_port=local.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5) as sensor:
            for turn in range(6):
                publish(site, sensor, range(turn * 50, turn * 50 + 50))
        site.daemon.kill()
        files = sorted((site.state / "journal").glob("*.log"))
        middle = len(places(files[0])) // 2
        head = places(files[0])[middle][1]
        flip_body(files[0], middle)
        code, said = check(site)
        (finding,) = said["findings"]
        assert code == 1
        assert (finding["first"], finding["last"], finding["messages"]) == (head.first, head.first, head.items)
        assert finding["needed"]
        site.daemon.start()
        told = site.status()["recovery"]
        assert told["positions_missing"] == [[head.first, head.first]]
        site.daemon.stop()
        code, said = check(site)
        assert said["goes_on_from"] is not None
        assert not any(one["needed"] for one in said["findings"])
