"""A daemon with less memory than it needs: slower, counted, and nothing of QoS 1 lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = """
[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""
NUMBER = 300


def test_a_budget_below_what_the_program_takes_slows_the_site_down_and_stops_nothing(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "local", max_queued_messages=0) as local,
        Site(tmp_path, ROUTES, broker_port=local.port) as site,
        PahoSensor(local.port, "sensor", 5) as sensor,
    ):
        text = site.configuration.read_text("utf-8")
        site.configuration.write_text(text.replace("[node]", '[node]\nmemory_bytes_max = "48MiB"'), "utf-8")
        site.daemon.start()
        wait_for(lambda: site.status()["memory"]["state"] == "short", "memory is short")
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed", 60.0)
        for one in range(NUMBER):
            sensor.publish("raw/1", b'{"value": %d}' % one, 1)
            sensor.publish("raw/0", b'{"value": %d}' % one, 0)
        sensor.wait_until_at_most()
        wait_for(
            lambda: site.ledger().get("message.decoded", 0) >= NUMBER, "everything of QoS 1 is taken in", 60.0, 0.2
        )
        status = site.status()
        ledger = status["ledger"]
        assert ledger["message.decoded"] + ledger["message.shed.memory"] == ledger["message.received"]
        assert ledger["message.received"] == 2 * NUMBER
        assert ledger["message.shed.memory"] > 0
        assert status["residual"] == {"messages": 0, "readings": 0}
        assert status["memory"]["entered"]["short"] >= 1
        assert "memory" in status["pressure"]
        assert "memory is short" in site.daemon.log()
        site.daemon.stop()
