"""One batch followed from a sensor's span to the region's sinks, by a real collector; over a kill as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.demo.pki import write_pki
from gateway.model import BatchId
from gateway.trace.context import root_of
from tests.support.mosquitto import Mosquitto
from tests.support.otlp_collector import Collector, Received
from tests.support.sensors import PahoSensor
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

SENSOR = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

ROUTES = """
[trace]
endpoint = "{endpoint}"
sample_ratio = {ratio}

[[route]]
name = "all"
topics = ["#"]
lane = "telemetry"
"""


@contextmanager
def at_work(folder: Path, collector: Collector, ratio: float = 1.0) -> Iterator[tuple[Site, Mosquitto, Mosquitto]]:
    pki = folder / "pki"
    write_pki(pki)
    routes = ROUTES.format(endpoint=collector.endpoint, ratio=ratio)
    with (
        Mosquitto(folder / "local") as local,
        Mosquitto(folder / "central", **region_tls(pki)) as central,
        Site(folder, routes, broker_port=local.port, region_port=central.port, pki=pki) as site,
    ):
        with (folder / "receiver.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[trace]\nendpoint = "{collector.endpoint}"\n')
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        yield site, local, central


def publish(port: int, context: str) -> None:
    """Publish as a sensor that traces its messages does."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="traced", protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("other", "word"), ("traceparent", context)]
    client.publish("plant/a", b'{"value": 1}', 1, properties=properties).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def one(collector: Collector, name: str) -> Received:
    (found,) = wait_for(lambda: collector.named(name), f"the span {name} has arrived")
    return found


def test_one_batch_is_one_trace_from_the_sensor_to_the_sinks(tmp_path: Path) -> None:
    with Collector() as collector, at_work(tmp_path, collector) as (site, local, _):
        publish(local.port, SENSOR)
        names = ("batch", "encode", "append", "send", "acknowledge", "receive", "commit", "sink ndjson", "sink sqlite")
        spans = {name: one(collector, name) for name in names}
        batch = spans["batch"]
        root = root_of(BatchId("node-1", "telemetry", batch.attributes["edge.epoch"], 1))
        assert {span.trace for span in spans.values()} == {f"{root.trace_id:032x}"}
        assert (batch.span, batch.parent) == (f"{root.span_id:016x}", "")
        assert batch.links == [tuple(SENSOR.split("-")[1:3])]
        for name in ("encode", "append", "send", "acknowledge", "receive"):
            assert spans[name].parent == batch.span, name
        assert spans["commit"].parent == spans["receive"].span
        assert {spans[f"sink {name}"].parent for name in ("ndjson", "sqlite")} == {spans["commit"].span}
        services = {name: "edge-region" if name in names[5:] else "edge-gateway" for name in names}
        assert {name: spans[name].service for name in names} == services
        assert batch.attributes["edge.readings"] == 1
        assert spans["send"].attributes["edge.region"] == "centre"
        assert batch.start_ns <= spans["send"].start_ns <= spans["receive"].end_ns <= spans["acknowledge"].end_ns
        assert len({span.span for span in spans.values()}) == len(spans)
        assert site.status()["trace"]["dropped"] == 0


def test_a_batch_that_is_sent_after_a_kill_goes_on_in_its_trace(tmp_path: Path) -> None:
    with Collector() as collector, at_work(tmp_path, collector) as (site, local, central):
        central.stop()
        with PahoSensor(local.port, "sensor", 5) as sensor:
            sensor.publish("plant/a", b'{"value": 1}', 1)
            sensor.wait_until_at_most()
        site.wait_received(1)
        wait_for(lambda: site.status()["ledger"].get("reading.sealed"), "the batch is sealed")
        site.daemon.kill()
        central.start()
        site.daemon.start()
        wait_for(lambda: len(site.readings()) == 1, "the region has the reading")
        sent, received = one(collector, "acknowledge"), one(collector, "receive")
        root = root_of(BatchId("node-1", "telemetry", sent.attributes["edge.epoch"], 1))
        assert {sent.trace, received.trace} == {f"{root.trace_id:032x}"}
        assert {sent.parent, received.parent} == {f"{root.span_id:016x}"}


def test_a_ratio_of_nothing_traces_nothing_and_a_collector_that_is_away_stops_nothing(tmp_path: Path) -> None:
    with Collector() as collector:
        with at_work(tmp_path / "none", collector, 0.0) as (site, local, _):
            publish(local.port, SENSOR)
            wait_for(lambda: len(site.readings()) == 1, "the region has the reading")
            assert site.status()["trace"]["spans"] == 0
        collector.status = 503
        with at_work(tmp_path / "away", collector) as (site, local, _):
            with PahoSensor(local.port, "sensor", 5) as sensor:
                for number in range(200):
                    sensor.publish("plant/a", b'{"value": %d}' % number, 1)
                sensor.wait_until_at_most()
            wait_for(lambda: len(site.readings()) == 200, "the region has all readings")
            assert site.status()["trace"]["exported"] == 0
        assert collector.spans == []
