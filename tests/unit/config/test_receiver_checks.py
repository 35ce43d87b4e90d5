"""What the options of a receiver must be to each other: each fault is named at its key, with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import parse
from gateway.errors import ConfigError

TLS = 'tls_ca = "ca"\ntls_certificate = "cert"\ntls_key = "key"\n'
RECEIVER = f"[receiver]\n{TLS}"
DATABASE = '[receiver.postgresql]\nconnect = "host=db"\n'
FORWARD = f'[[receiver.forward]]\nname = "away"\nhost = "a"\n{TLS}'
STREAM = f'{RECEIVER}source = "kafka"\nsinks = ["kafka"]\n'
KAFKA = '[receiver.kafka]\ntopic = "edge"\nservers = ["k:9093"]\n'


def faults(text: str) -> str:
    try:
        parse(text, "gateway.toml", Path("/etc/edge"))
    except ConfigError as error:
        return "\n".join(error.faults)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        RECEIVER,
        f'{RECEIVER}sinks = ["postgresql", "parquet"]\n{DATABASE}',
        f'{RECEIVER}sinks = ["sqlite", "ndjson", "parquet"]\n[receiver.parquet]\nrows_max = 5000\n',
        f'{RECEIVER}source = "kafka"\n{KAFKA}',
        f'{RECEIVER}{FORWARD}{FORWARD.replace("away", "else")}transport = "kafka"\n',
    ],
)
def test_what_fits_together_is_taken(text: str) -> None:
    assert faults(text) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'{RECEIVER}sinks = ["sqlite", "postgresql"]\n{DATABASE}',
            "receiver.sinks: postgresql holds the watermarks as well, and sqlite needs them in SQLite: remove one",
        ),
        (f'{RECEIVER}sinks = ["postgresql"]\n', "connect: is needed by the sink postgresql: say how to connect"),
        (f"{RECEIVER}{DATABASE}", 'receiver.postgresql: means nothing without sinks = ["postgresql"]: remove it'),
        (
            f"{RECEIVER}[receiver.parquet]\nrows_max = 5000\n",
            "receiver.parquet: means nothing without the sink parquet",
        ),
        (f"{RECEIVER}{KAFKA}", 'receiver.kafka: means nothing without source = "kafka": remove it'),
        (f"{RECEIVER}{FORWARD}{FORWARD}", '"away" is the name of another forward as well: give each its own'),
        (f'{RECEIVER}{FORWARD}transport = "webhook"\n', "url: is needed by the transport webhook, where to post"),
        (f'{RECEIVER}{FORWARD}[receiver.forward.nats]\nstream = "x"\n', "nats: means nothing to the transport mqtt"),
        (
            f'{RECEIVER}{FORWARD}transport = "kafka"\n[receiver.forward.kafka]\ntopic = "a.{{series}}"\n',
            'the address "a.{series}" has the place {series}, which nothing fills',
        ),
        (f'{RECEIVER}sinks = ["kafka"]\n', 'the transaction that moves the source\'s offsets: set source = "kafka"'),
        (
            f"{STREAM}{FORWARD}",
            "nothing else can be part of: let other receivers, with another share_group, do the rest",
        ),
        (
            f'{RECEIVER}source = "kafka"\n[receiver.kafka]\ntopic = "^edge[("\n',
            'receiver.kafka.topic: "^edge[(" is no regular expression',
        ),
        (f'{STREAM}[receiver.kafka]\ntopic = "^edge"\n', "kafka.topic: the sink kafka keeps its state by partition"),
        (f'{STREAM}[receiver.kafka.sink]\ntopic = "a-{{x}}"\n', 'the address "a-{x}" has the place {x}'),
        (
            f'{RECEIVER}source = "kafka"\n[receiver.kafka.sink]\ntopic = "a"\n',
            "receiver.kafka.sink: means nothing without the sink kafka: add it, or remove it",
        ),
        (
            f'{STREAM}[receiver.kafka.sink.registry]\nurl = "https://registry"\n',
            "receiver.kafka.sink.registry: holds the schema of events in Avro or Protobuf",
        ),
        (f"{RECEIVER}[receiver.kafka]\nlinger = 1\n", "receiver.kafka.linger: unknown key here"),
    ],
)
def test_a_fault_names_its_key_and_what_to_do(text: str, expected: str) -> None:
    assert expected in faults(text)
