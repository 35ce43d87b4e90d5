"""Receivers between two topics of Kafka are killed, and hang until their partitions are another's: each reading once.

A receiver that hangs in mid-transaction and wakes up after others have taken over must not commit what it had begun.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.pki import write_pki
from tests.support.kafka import KafkaCluster
from tests.support.mirroring import Node, region, until
from tests.support.site import Program, pems

LONG = bool(os.environ.get("GATEWAY_LONG"))
ROUNDS = 12 if LONG else 1
HANGS_S = 13.0
"""Longer than the group waits for a member."""
AT_ONCE = 60

RECEIVER = """
[receiver]
name = "{name}"
source = "kafka"
sinks = ["kafka"]
host = "localhost"
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hanging") / "pki"
    write_pki(folder)
    return folder


@pytest.fixture
def kafka(tmp_path: Path, pki: Path) -> Iterator[KafkaCluster]:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    with KafkaCluster(tmp_path / "kafka", files, pems(pki, "receiver")) as cluster:
        cluster.make_topic("edge", partitions=4)
        cluster.make_topic("edge-state", partitions=4, **{"cleanup.policy": "compact"})
        cluster.make_topic("edge-events", partitions=2)
        cluster.make_topic("edge-dead")
        yield cluster


def program(folder: Path, pki: Path, kafka: KafkaCluster, name: str) -> Program:
    text = RECEIVER.format(name=name, port=kafka.port, **pems(pki, "receiver"))
    (folder / f"{name}.toml").write_text(text, "utf-8")
    return Program(folder, name, ("region", "run", "-c", str(folder / f"{name}.toml")))


def values(kafka: KafkaCluster) -> list[int]:
    return sorted(json.loads(one.value() or b"")["data"]["value"] for one in kafka.messages("edge-events"))


async def test_each_reading_is_there_once_whoever_is_killed_or_hangs(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    chance = random.Random(11)
    receivers = [program(tmp_path, pki, kafka, name) for name in ("one", "two")]
    box = Node(tmp_path, region(pki, kafka.port, transport="kafka", acknowledge="broker"))
    total = 0
    try:
        for each in receivers:
            each.start()
        async with box.running():
            for number in range(ROUNDS):
                box.append(AT_ONCE)
                total += AT_ONCE
                first = values(kafka)
                await until(lambda: values(kafka) != first, "something arrives")  # noqa: B023  # awaited in the loop
                chance.shuffle(receivers)
                victim = receivers[0]
                box.append(AT_ONCE)
                total += AT_ONCE
                await asyncio.sleep(chance.random() / 5)  # anywhere in a transaction
                if number % 2:
                    victim.kill()
                    victim.spawn()
                else:
                    os.kill(victim.pid, signal.SIGSTOP)
                    await asyncio.sleep(HANGS_S)
                    os.kill(victim.pid, signal.SIGCONT)
                await until(lambda: len(values(kafka)) >= total, "all of it is there")  # noqa: B023  # as above
    finally:
        for each in receivers:
            each.kill()
    assert values(kafka) == list(range(1, total + 1))
