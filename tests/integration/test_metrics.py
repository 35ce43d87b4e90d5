"""Metrics of a daemon and of a receiver as real processes: all that the catalogue says, and no more than it allows."""

import json

import paho.mqtt.client as paho
import pytest

from gateway.demo.pki import write_pki
from gateway.health import catalogue
from gateway.health.metric import HISTOGRAM
from gateway.health.topics import SHOWN
from tests.support.mosquitto import Mosquitto
from tests.support.scraping import asked, promtool, samples, scraped, scraped_text, value
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

ROUTES = """
[[route]]
name = "alarms"
topics = ["alarm/#"]
lane = "telemetry"

[[route]]
name = "sensors"
topics = ["#"]
lane = "telemetry"

[health]
listen = "127.0.0.1:0"
"""


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker", max_queued_messages=100_000) as broker:
        yield broker


@pytest.fixture
def central(tmp_path):
    write_pki(tmp_path / "pki")
    with Mosquitto(tmp_path / "central", **region_tls(tmp_path / "pki")) as central:
        yield central


@pytest.fixture
def site(broker, central, tmp_path):
    with Site(tmp_path, ROUTES, broker_port=broker.port, region_port=central.port, pki=tmp_path / "pki") as site:
        receiver = tmp_path / "receiver.toml"
        receiver.write_text(f'{receiver.read_text("utf-8")}\n[health]\nlisten = "{tmp_path}/health.sock"\n', "utf-8")
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the broker has granted the subscription")
        yield site


@pytest.fixture
def send(broker):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def publish(topic: str, payload: str) -> None:
        client.publish(topic, payload, qos=1)

    yield publish
    client.disconnect()
    client.loop_stop()


def endpoint_of(site: Site) -> str:
    return str(site.status()["health"]["listens"])


def check_against(metrics, families) -> None:
    """Hold what was scraped against a catalogue."""
    declared = {metric.name: metric for metric in metrics}
    allowed = catalogue.series_names(metrics)
    found = samples(families)
    unknown = {sample.name for sample in found} - allowed
    assert not unknown, "not in the catalogue"
    for sample in found:
        metric = declared.get(sample.name)
        if metric is not None:
            assert set(sample.labels) == set(metric.labels), sample
    seen = {sample.name for sample in found}
    missing = [
        metric.name
        for metric in metrics
        if not metric.absent and (f"{metric.name}_count" if metric.kind == HISTOGRAM else metric.name) not in seen
    ]
    assert not missing, "in the catalogue, never absent, and not scraped"


def test_a_scrape_holds_what_the_catalogue_says_and_every_number_agrees_with_the_ledger(site, send, tmp_path) -> None:
    for number in range(500):
        send(f"sensors/{number % 10}", json.dumps({"t": number, "v": number / 2}))
    send("sensors/bad", "{")
    site.wait_received(501)
    where, behind = endpoint_of(site), f"{tmp_path}/health.sock"
    wait_for(lambda: value(behind, "gateway_region_readings_total", sink="sqlite") == 1000, "all arrived")
    wait_for(lambda: value(behind, "gateway_region_nodes") == 1, "its books were read", 40)
    wait_for(lambda: value(where, "gateway_mirror_delivery_seconds_count", region="centre") > 0, "acknowledged")
    node, region = scraped(where), scraped(behind)
    check_against((*catalogue.PROCESS, *catalogue.NODE), node)
    assert {family.name for family in scraped_text(where)} == {family.name for family in node}
    check_against((*catalogue.PROCESS, *catalogue.REGION), region)
    assert value(where, "gateway_pipeline_messages_total", fate="received") == 501
    assert value(where, "gateway_pipeline_quarantined_messages_total", reason="malformed_json") == 1
    assert value(where, "gateway_pipeline_readings_total", fate="sealed") == 1000
    assert value(where, "gateway_mirror_oldest_seconds", region="centre") == 0
    assert value(where, "gateway_mirror_payload_bytes_total", lane="telemetry") >= value(
        where, "gateway_spool_sealed_bytes_total", lane="telemetry"
    )
    assert value(where, "gateway_mirror_overhead_bytes_total", region="centre") > 0
    assert value(where, "gateway_certificate_left_seconds", peer="region centre", file="certificate") > 86400
    topics = [one for one in samples(node) if one.name == "gateway_spool_topic_bytes"]
    assert sum(one.value for one in topics) == value(where, "gateway_spool_sealed_bytes_total")
    assert "sensors/3" in site.shown_status() or "all others" in site.shown_status()
    for families in (where, behind):
        checked = promtool("check", "metrics", given=asked(families, "/metrics")[1])
        assert checked.returncode in (0, 3), checked.stderr  # 3: opinions on names and sentences, see below
        opinions = [line for line in checked.stderr.splitlines() if line.startswith("gateway")]
        assert not opinions


def test_the_number_of_series_does_not_rise_with_hostile_topics_and_payloads(site, send) -> None:
    where = endpoint_of(site)
    for number in range(3000):
        send(f'evil/{number}/{"x" * (number % 300)}\u00e9"\\{number}', json.dumps({f"field{number}": number}))
        send(f"worse/{number}", "\x00" if number % 2 else '{"a": ' * 100)
    site.wait_received(6000, 60)
    wait_for(lambda: value(where, "gateway_spool_topic_bytes", topic="") >= 0, "bytes are shared out")
    found = samples(scraped(where))
    topics = [one.labels["topic"] for one in found if one.name == "gateway_spool_topic_bytes"]
    assert len(topics) <= SHOWN + 1
    assert max(map(len, topics)) <= 120
    assert len(found) < 500


def test_a_region_that_is_away_shows_in_ages_and_waiting_bytes_and_goes_when_it_is_back(site, send, central) -> None:
    where = endpoint_of(site)
    send("alarm/1", '{"on": true}')
    wait_for(lambda: value(where, "gateway_mirror_delivery_seconds_count", lane="telemetry") == 1, "delivered")
    central.kill()
    wait_for(lambda: value(where, "gateway_mirror_connected", region="centre") == 0, "away")
    send("alarm/1", '{"on": false}')
    wait_for(lambda: value(where, "gateway_mirror_oldest_seconds", lane="telemetry") > 2, "it gets old")
    assert value(where, "gateway_mirror_waiting_batches", lane="telemetry") == 1
    assert value(where, "gateway_spool_waiting_bytes", lane="telemetry") > 0
    assert asked(where, "/readyz")[0] == asked(where, "/healthz")[0] == 200
    site.daemon.kill()
    site.daemon.start()
    where = endpoint_of(site)
    # It was sealed before this start: its age is read from the ring.
    wait_for(lambda: value(where, "gateway_mirror_oldest_seconds", lane="telemetry") > 3, "it is as old as it was")
    central.start()
    wait_for(lambda: value(where, "gateway_mirror_oldest_seconds", lane="telemetry") == 0, "it has arrived", 30)
    assert value(where, "gateway_mirror_waiting_bytes", lane="telemetry") == 0
