"""A lane that refuses is full while no region is in reach: the node starts, answers, and has lost nothing."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"

[spool]
segment_bytes = "128KiB"

[[region]]
name = "away"
host = "localhost"
port = 9
tls_ca = "ca.pem"
tls_certificate = "node.pem"
tls_key = "node.key"
"""
LANE = 'policy = "refuse"\nbatch_bytes_max = "32KiB"\nlinger = "50ms"'


def test_a_node_whose_ring_is_full_starts_and_says_so(tmp_path: Path) -> None:
    chance = random.Random(1)
    with (
        Mosquitto(tmp_path / "local", max_queued_messages=0) as broker,
        Site(tmp_path, ROUTES, broker_port=broker.port, lane=LANE) as site,
    ):
        text = site.configuration.read_text("utf-8").replace('"64MiB"', '"256KiB"')
        site.configuration.write_text(text, "utf-8")
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(broker.port, "sensor", 5) as sensor:
            for _ in range(400):
                sensor.publish("plant/a", b'{"noise": "%s"}' % chance.randbytes(1000).hex().encode(), 1)
            sensor.wait_until_at_most()
        wait_for(lambda: site.status()["refusing"] == "telemetry", "the ring is full")
        for _ in range(2):
            site.daemon.kill()
            site.daemon.start()
            wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed again")
            wait_for(lambda: site.status()["refusing"] == "telemetry", "the ring is still full")
        status = site.status()
        assert status["residual"] == {"messages": 0, "readings": 0}
        assert status["ledger"]["message.received"] <= 400
        assert "lane telemetry is full and refuses" in site.daemon.log()
