"""Routes whose filters overlap: the broker sends a copy for each subscription, a reading is at the region once."""

from __future__ import annotations

from pathlib import Path

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "temperatures"
topics = ["plant/+/t"]
lane = "telemetry"
[[route]]
name = "rest"
topics = ["plant/#"]
qos = 0
lane = "telemetry"
"""


def test_a_message_that_several_routes_could_take_is_received_once(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, ROUTES, broker_port=local.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5) as sensor:
            for number in range(10):
                sensor.publish("plant/a/t", b'{"value": %d}' % number, 1)
            sensor.publish("plant/last", b'{"value": 1}', 1)
            sensor.wait_until_at_most()
        wait_for(lambda: site.status()["routes"][1]["messages"] == 1, "the last message is decoded")
        assert site.status()["routes"][0]["messages"] == 10
        assert site.ledger()["message.received"] == 11
        assert site.status()["ingest"]["acknowledged"] == 11, "none came at QoS 0"
