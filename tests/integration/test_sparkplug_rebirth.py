"""An edge node whose birth the gateway has missed is asked for it over the real broker."""

from __future__ import annotations

from pathlib import Path

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site
from tests.support.tahu import message, metric
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "sparkplug"
topics = ["spBv1.0/#"]
lane = "telemetry"
decoder = "sparkplug"
"""


def test_a_missing_birth_is_asked_for(tmp_path: Path) -> None:
    payload = message("Payload", timestamp=1, seq=3, metrics=[metric(alias=1, float_value=2.5)]).SerializeToString()
    with (
        Mosquitto(tmp_path / "local") as local,
        Site(tmp_path, ROUTES, broker_port=local.port) as site,
        PahoSensor(local.port, "edge", 5) as sensor,
    ):
        commands = sensor.subscribe("spBv1.0/plant/NCMD/edge")
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        sensor.publish("spBv1.0/plant/NDATA/edge", payload, 1)
        wait_for(lambda: len(commands) == 1, "the edge node is asked for a birth")
        asked = message("Payload")
        asked.ParseFromString(commands[0])
        assert [(one.name, one.boolean_value) for one in asked.metrics] == [("Node Control/Rebirth", True)]
        counts = site.ledger()
        assert counts["message.quarantined.birth_missing"] == 1
        site.wait_received(2)
        assert site.ledger()["message.decoded"] == 1, "the command comes back on the same subscription"
