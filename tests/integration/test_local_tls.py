"""The site's own broker may ask for TLS and a certificate, and the node gives both."""

from __future__ import annotations

from pathlib import Path

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site, pems, region_tls
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
"""


def test_messages_of_a_broker_that_asks_for_certificates_are_taken(tmp_path: Path) -> None:
    write_pki(tmp_path / "pki")
    files = pems(tmp_path / "pki", "node")
    broker = "".join(f'tls_{name} = "{path}"\n' for name, path in files.items())
    with (
        Mosquitto(tmp_path / "local", **region_tls(tmp_path / "pki")) as local,
        Site(tmp_path, ROUTES, broker_port=local.port, broker=broker) as site,
    ):
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5, files) as sensor:
            sensor.publish("plant/a", b'{"value": 1.5}', 1)
            site.wait_received(1)
        assert site.ledger()["message.decoded"] == 1
        site.daemon.stop()
