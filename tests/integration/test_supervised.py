"""What a supervisor hears of the real daemon, and what SIGTERM leaves behind under load."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import Stream
from tests.support.site import Site, region_tls
from tests.support.supervisor import Supervisor
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTES = """
[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""
TOPICS = [f"raw/{number}" for number in range(10)]
RATE = 2000


@contextmanager
def at_work(folder: Path, *, watchdog_s: float = 0.0) -> Iterator[tuple[Site, Supervisor, Mosquitto]]:
    """Start a daemon under a supervisor; its region is away."""
    pki = folder / "pki"
    write_pki(pki)
    with (
        Mosquitto(folder / "local", max_queued_messages=0) as local,
        Mosquitto(folder / "central", **region_tls(pki)) as central,
        Supervisor(folder, watchdog_s=watchdog_s) as supervisor,
        Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=pki) as site,
    ):
        site.daemon.environment = supervisor.environment
        central.stop()
        site.daemon.start()
        yield site, supervisor, central


def test_the_daemon_is_ready_without_its_region_and_feeds_the_watchdog(tmp_path: Path) -> None:
    with at_work(tmp_path, watchdog_s=1.0) as (_, supervisor, central):
        supervisor.wait_for("READY=1")
        supervisor.wait_for("WATCHDOG=1", 8)
        wait_for(lambda: any("away: centre" in said for said in supervisor.statuses()), "the status names the region")
        central.start()
        wait_for(lambda: "away" not in supervisor.statuses()[-1], "the status says that the region is there")


def test_a_receiver_is_at_work_without_its_broker_and_says_what_it_waits_for(tmp_path: Path) -> None:
    with at_work(tmp_path, watchdog_s=1.0) as (site, _, central):
        folder = tmp_path / "other"
        folder.mkdir()
        with Supervisor(folder, watchdog_s=1.0) as supervisor:
            site.receiver.environment = supervisor.environment
            site.receiver.spawn()
            supervisor.wait_for("READY=1")
            supervisor.wait_for("WATCHDOG=1", 4)
            wait_for(lambda: any("not connected" in said for said in supervisor.statuses()), "the status says so")
            central.start()
            site.receiver.wait_ready()
            site.receiver.stop()
            supervisor.wait_for("STOPPING=1")


def test_a_reload_is_told_from_its_begin_to_its_end(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, supervisor, _):
        assert site.daemon.process is not None
        before_us = time.monotonic() * 1e6
        site.configuration.write_text(site.configuration.read_text("utf-8").replace("raw/+", "raw/#"), "utf-8")
        site.daemon.process.send_signal(signal.SIGHUP)
        begun = supervisor.wait_for("RELOADING=1")
        assert supervisor.wait_for("READY=1", 2) > begun
        (word,) = [word for word in supervisor.words if "RELOADING=1" in word.lines]
        (stamp,) = [line for line in word.lines if line.startswith("MONOTONIC_USEC=")]
        assert before_us <= int(stamp.partition("=")[2]) <= word.at * 1e6
        site.configuration.write_text("[node]\n", "utf-8")
        site.daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the configuration is not taken" in site.daemon.log(), "the daemon refuses")
        assert len(supervisor.times("RELOADING=1")) == 1
        site.daemon.stop()


def test_sigterm_under_load_ends_in_time_and_loses_nothing(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, supervisor, central):
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        stream = Stream(site.broker_port, TOPICS, rate=RATE)
        stream.start()
        site.wait_received(RATE)
        asked_at = time.monotonic()
        site.daemon.stop()
        took_s = time.monotonic() - asked_at
        assert supervisor.wait_for("STOPPING=1") - asked_at < took_s
        assert "stopped with work left" not in site.daemon.log(), "it takes more than 5 seconds"
        central.start()
        site.receiver.start()
        site.daemon.start()
        assert re.search(r"recovered in [\d.]+ s: 0 messages replayed", site.daemon.log()), "the stop was not clean"
        books = stream.stop()
        total = sum(books.values())
        assert stream.unmatched == 0
        site.wait_received(total)
        wait_for(lambda: len(site.readings()) >= total, "everything is at the region", 60.0)
        readings = site.readings()
        for topic in TOPICS:
            assert sorted(int(one.value) for one in readings if one.topic == topic) == list(range(books[topic]))
        assert site.status()["residual"] == {"messages": 0, "readings": 0}
        print(json.dumps({"messages": total, "stop_s": round(took_s, 2)}))  # noqa: T201  # for people
