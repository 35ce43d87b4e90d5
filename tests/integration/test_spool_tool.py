"""A ring is carried to a new box and the region gets every reading once; beside a busy daemon nothing looks damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.demo.pki import write_pki
from gateway.region import watermarks
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTES = """
[spool]
segment_bytes = "64KiB"
[journal]
checkpoint_interval = "1s"
checkpoint_bytes_min = "64KiB"
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
"""
LANE = 'batch_bytes_max = "16KiB"\nlinger = "20ms"'
CHECKS_S = 4.0


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[Mosquitto, Mosquitto, Site]]:
    """Give a site and a region at work, with both brokers."""
    pki = folder / "pki"
    write_pki(pki)
    with (
        Mosquitto(folder / "local", max_queued_messages=0) as local,
        Mosquitto(folder / "central", **region_tls(pki)) as central,
        Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=pki, lane=LANE) as site,
    ):
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        yield local, central, site


def spool(site: Site, *words: str, code: int = 0) -> Any:
    """Run `gateway spool … --json`, and return what it says."""
    command = [PROGRAM, "spool", *words, "--json", "-c", str(site.configuration)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
    return json.loads(done.stdout)


def publish(site: Site, port: int, numbers: range, seen_before: int = 0) -> None:
    with PahoSensor(port, "sensor", 5) as sensor:
        for number in numbers:
            sensor.publish("plant/a", json.dumps({"value": number, "text": f"{number * 7919:0200x}"}).encode(), 1)
        sensor.wait_until_at_most()
    site.wait_received(numbers.stop - seen_before)


def backlog(site: Site) -> int:
    return sum(lane["regions"]["centre"]["backlog_batches"] for lane in site.status()["lanes"])


def test_a_new_box_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    with at_work(tmp_path) as (local, central, site):
        publish(site, local.port, range(300))
        wait_for(lambda: backlog(site) == 0, "the region has everything so far")
        central.kill()
        publish(site, local.port, range(300, 1000))
        wait_for(lambda: site.status()["open_readings"] == 0, "the last batch is in the ring")
        site.daemon.stop()
        waiting = spool(site, "ls")["lanes"][0]["regions"]["centre"]["readings"]
        file = tmp_path / "ring.tar"
        assert spool(site, "export", str(file), "--for", "centre")["lanes"]["telemetry"]["readings"] == waiting > 0
        shutil.rmtree(site.state)
        site.state.mkdir()
        spool(site, "import", str(file))
        central.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the new box has subscribed")
        recovery = site.status()["recovery"]
        assert recovery["acknowledged_input_missing"] is False
        assert any("batches were imported" in note for note in recovery["notes"])
        publish(site, local.port, range(1000, 1200), seen_before=1000)
        wait_for(lambda: backlog(site) == 0, "the region has the rest")
        values = [one.value for one in site.readings() if one.field == "value"]
        assert sorted(values) == list(range(1200))
        report = watermarks.report(site.region_state)
        assert report.unaccounted == 0
        assert {(lane.missing, sum(lane.lost.values()), lane.forks) for lane in report.lanes} == {(0, 0, 0)}
        assert report.rejected == {}


def test_nothing_is_called_damaged_while_a_daemon_fills_and_frees_its_ring(tmp_path: Path) -> None:
    with at_work(tmp_path) as (local, _, site):
        checks, sent, end = 0, 0, time.monotonic() + CHECKS_S
        while time.monotonic() < end:
            publish(site, local.port, range(sent, sent + 500))
            sent += 500
            found = spool(site, "check", "--deep")
            assert found["findings"] == [] or {one["kind"] for one in found["findings"]} == {"torn"}
            checks += 1
        wait_for(lambda: backlog(site) == 0, "the region has everything")
        site.daemon.kill()
        assert spool(site, "check", "--deep")["damaged"] is False
    print(f"{checks} checks beside the daemon")  # noqa: T201  # for people
