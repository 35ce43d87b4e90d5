"""A capture beside the running gateway records what sensors publish, takes nothing from it, and ends at its bounds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
"""


def test_what_was_captured_is_replayed(tmp_path: Path) -> None:
    folder = tmp_path / "captured"
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, ROUTES, broker_port=local.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        words = [PROGRAM, "capture", "-c", str(site.configuration), str(folder), "--for", "30s", "--messages", "50"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            with PahoSensor(local.port, "sensor", 5) as sensor:
                sent = 0
                while process.poll() is None:
                    sensor.publish("plant/a", b'{"value": %d}' % sent, 1)
                    sensor.wait_until_at_most()
                    sent += 1
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert (process.returncode, err) == (0, "")
        assert out.startswith(f"{folder}: 50 messages")
        site.wait_received(sent)
        assert site.ledger()["message.decoded"] == sent, "the capture took nothing from the daemon"
        words = [PROGRAM, "replay", "-c", str(site.configuration), "--capture", str(folder), "--json"]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
        found = json.loads(done.stdout)[0]
        assert found["messages"] == found["ledger"]["reading.sealed"] == 50
        assert found["lanes"]["telemetry"]["link_bytes"] > 0
        code = subprocess.run(
            [*words[:1], "capture", "-c", str(site.configuration), str(folder)], check=False
        ).returncode
        assert code == 74
