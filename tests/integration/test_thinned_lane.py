"""An uplink that is away for longer than the ring is large: detail goes, readings do not, and the books say which.

The sum of what the region gets, each reading as it is and each coarser one by its count, is what was published.
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import ExitStack

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

ROUTES = """
[spool]
segment_bytes = "64KiB"

[[route]]
name = "noise"
topics = ["plant/+"]
lane = "telemetry"
"""
LANE = 'policy = "thin"\nthin_interval = "1s"\nthin_levels = 1\nbatch_bytes_max = "16KiB"\nlinger = "50ms"'
MESSAGES = 30_000


def test_detail_goes_before_readings_do_and_the_region_can_add_it_up(tmp_path) -> None:
    chance = random.Random(3)
    pki = tmp_path / "pki"
    write_pki(pki)
    with ExitStack() as stack:
        local = stack.enter_context(Mosquitto(tmp_path / "local", max_queued_messages=0, max_inflight_messages=2000))
        central = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki)))
        site = stack.enter_context(
            Site(tmp_path, ROUTES, broker_port=local.port, region_port=central.port, pki=pki, lane=LANE)
        )
        text = site.configuration.read_text("utf-8").replace('bytes_max = "64MiB"', 'bytes_max = "768KiB"')
        site.configuration.write_text(text, "utf-8")
        central.kill()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5) as sensor:
            for number in range(MESSAGES):
                value = chance.random()
                sensor.publish(f"plant/{number % 4}", json.dumps({"a": value, "b": value * 3, "c": number}).encode(), 1)
                sensor.wait_until_at_most(1000)
            sensor.wait_until_at_most()
        site.wait_received(MESSAGES)
        base, coarse = settled(site)
        assert base["thinned_readings"] > 0
        assert base["evicted_readings"] == 0
        assert coarse["name"] == "telemetry.thin1"
        central.start()
        site.receiver.start()
        wait_for(lambda: backlog(site) == 0, "the region has everything", timeout_s=60)
        assert site.status()["residual"] == {"messages": 0, "readings": 0}
        check_the_sum(site, site.status()["lanes"][0]["thinned_readings"])


def settled(site: Site) -> list[dict[str, int]]:
    """Wait until nothing more is made coarser."""
    seen: list[int] = []

    def stands() -> bool:
        seen.append(site.status()["lanes"][0]["thinned_batches"])
        return len(seen) > 5 and len(set(seen[-5:])) == 1

    wait_for(stands, "thinning has come to an end", poll_s=0.3)
    return site.status()["lanes"]


def backlog(site: Site) -> int:
    waiting = [lane["regions"]["centre"] for lane in site.status()["lanes"]]
    return sum(one["backlog_batches"] + one["gap_batches"] for one in waiting)


def check_the_sum(site: Site, thinned: int) -> None:
    readings = site.readings()
    whole = [one for one in readings if one.field in {"a", "b", "c"}]
    counts = [one.value for one in readings if one.field.endswith(".count")]
    assert len(whole) + sum(counts) == 3 * MESSAGES
    assert sum(counts) == thinned
    with sqlite3.connect(f"file:{site.region_state / 'region.sqlite'}?mode=ro", uri=True) as database:
        lost = dict(database.execute("SELECT lane, lost FROM watermark"))
    assert json.loads(lost["telemetry"]) == {"thinned": thinned}
