"""What the options of a region must be to each other: each fault is named at its key, with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import parse
from gateway.errors import ConfigError

SITE = """
[node]
id = "node-1"
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "all"
topics = ["#"]
lane = "telemetry"
"""
TLS = 'tls_ca = "ca"\ntls_certificate = "cert"\ntls_key = "key"\n'
EVENTS = 'format = "events"\nacknowledge = "broker"\n'
EAST = f'[[region]]\nname = "east"\nhost = "e"\n{TLS}'
KAFKA = f'{EAST}transport = "kafka"\nacknowledge = "broker"\n'
REGISTRY = "[region.kafka.registry]\n"


def faults(text: str) -> str:
    try:
        parse(SITE + text, "gateway.toml", Path("/etc/edge"))
    except ConfigError as error:
        return "\n".join(error.faults)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        EAST,
        f'{EAST}[[region]]\nname = "west"\nfailover_for = "east"\nhost = "w"\n{TLS}',
        '[[region]]\nname = "q"\nhost = "q"\ntransport = "amqp"\nacknowledge = "broker"\ntls_ca = "ca"\n',
        f'{EAST}format = "events"\nacknowledge = "broker"\n[region.events]\nof = "reading"\n',
        f'{EAST}[region.link]\nconnect = ["0 */4 * * *"]\n',
    ],
)
def test_a_region_whose_options_fit_is_taken(text: str) -> None:
    assert faults(text) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'[[region]]\nname = "east"\n{TLS}', "region[0].host: is needed by the transport mqtt"),
        (
            '[[region]]\nname = "e"\nhost = "e"\ntls_ca = "c"\n',
            "region[0].tls_certificate: is needed by the transport mqtt",
        ),
        (
            '[[region]]\nname = "e"\nhost = "e"\ntls_ca = "c"\ntls_key = "k"\n',
            "tls_key: is set and tls_certificate is not",
        ),
        (
            f'{EAST}transport = "nats"\n',
            'the receiver\'s word does not come back over nats: set acknowledge = "broker"',
        ),
        (f'{EAST}format = "events"\n', "our receiver takes batches, not events"),
        (f'{EAST}heartbeat = "50ms"\n', "region[0].heartbeat: would ask without pause: at least 1s, or 0s for never"),
        (
            f'{EAST}acknowledge = "broker"\nreceiver_group = "blue"\n',
            "region[0].receiver_group: means nothing where no receiver's word is waited for",
        ),
        (f'{EAST}[region.events]\nof = "reading"\n', 'region[0].events: means nothing without format = "events"'),
        (f'{EAST}[region.amqp]\nexchange = "x"\n', "region[0].amqp: means nothing to the transport mqtt"),
        (f'{EAST}[region.link]\nconnect = ["soon"]\n', '"soon" (number 1) is no cron expression'),
        (f'{EAST}failover_for = "weest"\n', 'no region is named "weest"'),
        (
            f'{EAST}transport = "nats"\nacknowledge = "broker"\n[region.nats]\nsubject = "edge.{{topic}}"\n',
            'region[0].nats.subject: the address "edge.{topic}" has the place {topic}, which nothing fills',
        ),
        (
            '[[region]]\nname = "w"\ntransport = "webhook"\nacknowledge = "broker"\ntls_ca = "ca"\n',
            "region[0].webhook.url: is needed by the transport webhook",
        ),
        (
            f'{KAFKA}format = "events"\n{REGISTRY}url = "https://registry"\n',
            'region[0].kafka.registry: holds the schema of events in Avro or Protobuf: set format = "events", and in',
        ),
        (
            f'{KAFKA}{REGISTRY}url = "http://registry"\n',
            '"http://registry" is no address of the form https://host/path',
        ),
        (f'{KAFKA}{REGISTRY}username = "press"\n', "region[0].kafka.registry: means nothing without its url"),
        (
            f'{EAST}[[region]]\nname = "w"\nfailover_for = "east"\nhost = "w"\n{EVENTS}{TLS}',
            "both must have the same",
        ),
    ],
)
def test_a_fault_is_named_with_what_to_write(text: str, expected: str) -> None:
    assert expected in faults(text)


def test_a_lane_for_a_region_that_is_not_there_or_stands_by_is_named() -> None:
    lane = '[[spool.lanes]]\nname = "personal"\nregions = ["{}"]\n'
    assert 'no region is named "eest"; did you mean "east"?' in faults(lane.format("eest") + EAST)
    standby = f'[[region]]\nname = "west"\nfailover_for = "east"\nhost = "w"\n{TLS}'
    assert '"west" stands by for "east"' in faults(lane.format("west") + EAST + standby)
