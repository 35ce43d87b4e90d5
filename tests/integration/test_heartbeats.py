"""Heartbeats through a region: what the broker accepts proves nothing, what the receiver says does."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import random
import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.region import chosen
from gateway.toll import heartbeat_toll
from gateway.transport import wire
from gateway.transport.subscriber import Subscriber
from tests.support.mirroring import Node, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.rawbroker import RawBroker
from tests.support.site import Program, pems, region_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND_NS = 10**9
BEATS = 5

RECEIVER = """
[receiver]
name = "{name}"
share_group = "{group}"
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
state_folder = "{state}"
sinks = ["sqlite"]
"""

NO_HEARTBEATS = """
user node-1
topic write edge/v1/+/batch/+
topic read edge/v1/+/ack

user receiver
topic read edge/v1/+/batch/+
topic write edge/v1/+/ack
"""


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki", node="node-1")
    return tmp_path / "pki"


@contextmanager
def place(folder: Path, pki: Path, name: str, group: str = "edge", **options: object) -> Iterator[tuple[int, Program]]:
    """Run a broker and a real receiver behind it; its port, and the receiver."""
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(folder / f"{name}-broker", **region_tls(pki), **options))
        receiver = receiver_at(folder, pki, name, group, broker.port)
        stack.callback(receiver.kill)
        receiver.start()
        yield broker.port, receiver


def receiver_at(folder: Path, pki: Path, name: str, group: str, port: int) -> Program:
    configuration = folder / f"{name}.toml"
    files = pems(pki, "receiver")
    text = RECEIVER.format(name=name, group=group, port=port, state=folder / name, **files)
    configuration.write_text(text, "utf-8")
    return Program(folder, name, ("region", "run", "-c", str(configuration)))


def status(node: Node) -> dict[str, object]:
    return node.mirrors[0].status()


async def test_a_receiver_that_hangs_while_nothing_is_sent_is_left_for_the_standby_and_gone_back_to_when_it_answers(
    tmp_path: Path, pki: Path
) -> None:
    with place(tmp_path, pki, "east") as (east_port, east), place(tmp_path, pki, "west") as (west_port, _):
        times = {"failover_after_ns": SECOND_NS, "hold_down_ns": SECOND_NS, "heartbeat_ns": SECOND_NS}
        node = Node(
            tmp_path,
            region(pki, east_port, "east", **times),
            region(pki, west_port, "west", failover_for="east"),
        )
        async with node.running():
            node.append(3)
            await until(lambda: node.has_all("east"), "the region has all")
            await until(lambda: node.mirrors[0]._active.hearing.answers, "the receiver has answered")
            os.kill(east.pid, signal.SIGSTOP)
            await until(lambda: status(node)["receiver_is_silent"], "it owes an answer, and the broker is there")
            await until(lambda: status(node)["place"] == "west", "the standby carries before anything had to wait")
            await until(lambda: node.mirrors[0]._places[1].hearing.answers, "and has answered, too")
            node.append(3)
            await until(lambda: node.has_all("east"), "the standby has what is new")
            os.kill(east.pid, signal.SIGCONT)
            await until(lambda: status(node)["place"] == "east", "it answers again, and carries again")
            node.append(3)
            await until(lambda: node.has_all("east"), "the region has the rest")
            assert status(node)["failovers"] == 1
            assert not status(node)["receiver_is_silent"]


async def test_a_broker_that_permits_no_heartbeats_changes_nothing(tmp_path: Path, pki: Path) -> None:
    rules = tmp_path / "rules.acl"
    rules.write_text(NO_HEARTBEATS, "utf-8")
    options = {"use_identity_as_username": "true", "acl_file": rules}
    with place(tmp_path, pki, "east", **options) as (port, _):
        node = Node(tmp_path, region(pki, port, "east", heartbeat_ns=SECOND_NS // 20, keep_alive_ns=SECOND_NS))
        async with node.running():
            for _ in range(3):
                node.append(1)
                await until(lambda: node.has_all("east"), "the region has it")
                heard = node.mirrors[0]._active.hearing
                await until(lambda heard=heard: heard.wait_ns(0) > 0, "the receiver was asked")
            assert not heard.answers
            assert (status(node)["connects"], status(node)["faults"]) == (1, 0)


async def test_a_broker_that_refuses_the_subscription_to_heartbeats_brings_the_receiver_its_batches(pki: Path) -> None:
    options = chosen._subscriber_options(
        schema.Receiver(**{f"tls_{key}": at for key, at in pems(pki, "receiver").items()})
    )
    came: list[bytes] = []
    with RawBroker() as broker:
        plain = dataclasses.replace(options, host="127.0.0.1", port=broker.port, tls=None)
        subscriber = Subscriber(plain, lambda _, packets: came.extend(one.payload for one in packets), random.Random(1))
        running = asyncio.create_task(subscriber.run())
        with await asyncio.to_thread(broker.accept) as connection:
            await asyncio.to_thread(connection.handshake, refuse="beat")
            await until(lambda: subscriber.is_connected, "the receiver is served")
            connection.publish(wire.batch_topic("edge/v1", "node-1", "telemetry"), b"batch")
            await until(lambda: came == [b"batch"], "the batch is there")
        running.cancel()


async def test_the_word_of_a_receiver_of_another_group_moves_no_cursor(tmp_path: Path, pki: Path) -> None:
    with place(tmp_path, pki, "green", group="green") as (port, _):
        node = Node(tmp_path, region(pki, port, "east", receiver_group="blue", heartbeat_ns=SECOND_NS))
        async with node.running():
            node.append(5)
            await until(lambda: int(str(status(node)["other_group"])) >= 1, "the other group has said what it has")
            assert node.spool.cursor("east", "telemetry") == 0
            blue = receiver_at(tmp_path, pki, "blue", "blue", port)
            try:
                blue.start()
                await until(lambda: node.has_all("east"), "the group that counts has all")
            finally:
                blue.kill()


async def test_a_heartbeat_costs_what_plans_say(tmp_path: Path, pki: Path) -> None:
    with place(tmp_path, pki, "east") as (port, _):
        options = region(pki, port, "east", heartbeat_ns=SECOND_NS, keep_alive_ns=3600 * SECOND_NS)
        node = Node(tmp_path, options)
        async with node.running():
            hearing = node.mirrors[0]._active.hearing
            await until(lambda: hearing.answers, "the first is answered")
            counted = [line_bytes(node)]
            while len(counted) < BEATS + 1:
                await until(lambda: line_bytes(node) > counted[-1], "the next one was counted")
                counted.append(line_bytes(node))
            found = sorted(after - before for before, after in itertools.pairwise(counted))[BEATS // 2]
            assert found == pytest.approx(heartbeat_toll(options, "node-1"), rel=0.2)


def line_bytes(node: Node) -> int:
    return int(status(node)["line"]["month_bytes_by_lane"].get("", 0))


async def test_a_receiver_that_never_answered_is_not_called_silent(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "east-broker", **region_tls(pki)) as broker:
        node = Node(tmp_path, region(pki, broker.port, "east", heartbeat_ns=SECOND_NS // 20))
        async with receiving(pki, broker.port), node.running():
            node.append(3)
            await until(lambda: node.has_all("east"), "it has all")
            hearing = node.mirrors[0]._active.hearing
            await until(lambda: hearing._owed_since is not None, "it was asked")
            assert not status(node)["receiver_is_silent"]
