"""A configuration that has changed is taken up while the gateway runs; one that is wrong leaves it as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTES = """
[[route]]
name = "counted"
topics = ["counted/+"]
lane = "telemetry"
[route.window]
size = "1h"
idle = "4s"
functions = ["count"]

[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[Site, PahoSensor]]:
    pki = folder / "pki"
    write_pki(pki)
    with (
        Mosquitto(folder / "local", max_queued_messages=0) as local,
        Mosquitto(folder / "central", **region_tls(pki)) as central,
        Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=pki) as site,
        PahoSensor(local.port, "sensor", 5) as sensor,
    ):
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        yield site, sensor


def reload(site: Site) -> tuple[int, str]:
    command = [PROGRAM, "reload", "-c", str(site.configuration)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def change(site: Site, old: str, new: str) -> None:
    text = site.configuration.read_text("utf-8")
    assert old in text
    site.configuration.write_text(text.replace(old, new), "utf-8")


def publish(sensor: PahoSensor, topic: str, number: int) -> None:
    for one in range(number):
        sensor.publish(topic, b'{"value": %d}' % one, 1)
    sensor.wait_until_at_most()


def connected(site: Site) -> None:
    wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed again")


def counts(site: Site) -> dict[str, Any]:
    return site.status()["ledger"]


def test_a_route_that_has_not_changed_keeps_its_open_window(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, sensor):
        publish(sensor, "counted/a", 3)
        publish(sensor, "raw/a", 2)
        site.wait_received(5)
        pid = site.daemon.pid
        change(site, '"raw/+"', '"new/+"')
        assert reload(site) == (0, f"{site.configuration}: taken up\n")
        connected(site)
        assert site.status()["pid"] == pid
        assert any("routes that begin anew: raw" in note for note in site.status()["recovery"]["notes"])
        publish(sensor, "counted/a", 4)
        publish(sensor, "raw/a", 5)
        publish(sensor, "new/a", 1)
        site.wait_received(10)
        wait_for(lambda: "counted/a" in {one.topic for one in site.readings()}, "the window has closed")
        wait_for(lambda: len(site.readings()) == 4, "the region has everything")
        found = [(one.topic, one.field, one.value) for one in site.readings()]
        assert sorted(found) == [
            ("counted/a", "value.count", 7),
            ("new/a", "value", 0),
            ("raw/a", "value", 0),
            ("raw/a", "value", 1),
        ]
        assert "message.unrouted" not in counts(site), "the broker does not send any more what no route takes"
        assert site.status()["residual"] == {"messages": 0, "readings": 0}


def test_what_cannot_be_used_is_refused_and_said(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, sensor):
        before = site.configuration.read_text("utf-8")
        change(site, 'lane = "telemetry"\n[route.window]', 'lane = "nowhere"\n[route.window]')
        code, said = reload(site)
        assert code == 78
        assert 'no lane is named "nowhere"' in said
        os.kill(site.daemon.pid, signal.SIGHUP)
        wait_for(lambda: site.status()["reloads"]["refused"] == 1, "the daemon has refused it, too")
        assert "the configuration is not taken: " in site.daemon.log()
        site.configuration.write_text(before.replace('id = "node-1"', 'id = "node-2"'), "utf-8")
        code, said = reload(site)
        assert (code, "node.id has changed" in said) == (78, True)
        publish(sensor, "raw/a", 3)
        site.wait_received(3)
        assert site.status()["reloads"]["taken"] == 0


def test_level_and_form_of_the_log_are_taken_up_by_a_reload(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, _):
        with site.configuration.open("a", encoding="utf-8") as file:
            file.write('[log]\nformat = "text"\n')
        assert reload(site)[0] == 0
        connected(site)
        lines = whole_log(site).splitlines()
        assert lines[0].startswith('{"time": ')
        assert lines[-1].partition(" ")[2].startswith("info ")
        before = whole_log(site).count(": connected")
        change(site, 'format = "text"', 'level = "error"')
        assert reload(site)[0] == 0
        connected(site)
        assert whole_log(site).count(": connected") == before


def whole_log(site: Site) -> str:
    return site.daemon.log_path.read_text("utf-8")


def test_nothing_is_lost_while_the_configuration_changes_under_load(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, sensor):
        total = 0
        for turn in range(4):
            for _ in range(500):
                sensor.publish("raw/a", b'{"value": %d}' % total, 1)
                total += 1
            change(site, f'idle = "{4 + turn}s"', f'idle = "{5 + turn}s"')
            os.kill(site.daemon.pid, signal.SIGHUP)
        sensor.wait_until_at_most()
        wait_for(lambda: len(site.readings()) == total, "the region has everything", 30)
        assert sorted(one.value for one in site.readings()) == list(range(total))


def test_a_signal_to_stop_is_heard_while_the_flow_is_built(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, ROUTES, broker_port=local.port) as site:
        for _ in range(5):
            shutil.rmtree(site.state, ignore_errors=True)
            site.daemon.spawn()
            process = site.daemon.process
            assert process is not None
            while not (site.state / "spool").exists():
                time.sleep(0.001)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            site.daemon.process = None
