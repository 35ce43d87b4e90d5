"""A batch that was refused, and is sent again when the region's broker takes it: its gap is taken back."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from gateway.demo.pki import write_pki
from gateway.region import watermarks
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
"""
LIMIT = 20_000


def test_a_batch_is_sent_again_when_the_regions_broker_takes_it_and_nothing_is_lost(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_pki(pki)
    large = b'{"noise": "%s"}' % random.Random(1).randbytes(LIMIT).hex().encode()
    with (
        Mosquitto(tmp_path / "local") as local,
        Mosquitto(tmp_path / "central", message_size_limit=LIMIT, **region_tls(pki)) as central,
        Site(tmp_path, ROUTES, broker_port=local.port, region_port=central.port, pki=pki) as site,
    ):
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5) as sensor:
            for number, payload in enumerate((b'{"v": 1}', large, b'{"v": 3}'), 1):
                sensor.publish("plant/a", payload, 1)
                wait_for(lambda: site.ledger().get("reading.sealed") == number, "it is a batch of its own")  # noqa: B023  # it is called here
        wait_for(lambda: site.status()["regions"]["centre"]["parked"] == 1, "the large one is parked")
        wait_for(lambda: report(site).lanes[0].lost == {"refused": 1}, "its gap has arrived")
        assert report(site).unaccounted == 0
        central.stop()
        central.configure(message_size_limit=0)
        central.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the mirror is connected again")
        command = [PROGRAM, "parked", "redrive", "--region", "centre", "-c", str(site.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "1 batches sent\n"), done.stderr
        (lane,) = report(site).lanes
        assert (lane.received, lane.lost, lane.missing, report(site).unaccounted) == (3, {"refused": 0}, 0, 0)
        assert len(site.readings()) == 3


def report(site: Site) -> watermarks.Report:
    return watermarks.report(site.region_state)
