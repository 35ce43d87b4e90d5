"""The receiver alone, behind a real broker with mutual TLS: batches in any order, twice and thrice, and SIGKILL.

The test is the node. It sends everything in random order, again and again until the receiver says that it has it, while
the receiver is killed at random moments. What the receiver has acknowledged must be in its store at each of these
moments, and in the end each reading is in each sink exactly once. GATEWAY_SEED repeats the moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.demo.pki import write_pki
from gateway.region import watermarks
from gateway.region.intake import Message
from tests.support.mosquitto import Mosquitto
from tests.support.node import SendingNode
from tests.support.receiving import gap, sent, sent_gap
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.spooled import readings_between, readings_of
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = 100, 200
SWITCH, LAST = 150, 300
LOST = range(120, 131)
"""Declared lost by a gap; one of them arrives all the same."""
FOUND = 125
KILLS = 5

Identity = tuple[str, int, int]


class Bench(NamedTuple):
    """What runs: the region's broker, the receiver, and the node that sends."""

    site: Site
    broker: Mosquitto
    node: SendingNode


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    pki = tmp_path / "pki"
    write_pki(pki)
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki)))
        site = stack.enter_context(Site(tmp_path, "", broker_port=1, region_port=broker.port, pki=pki))
        site.receiver.start()
        yield Bench(site, broker, stack.enter_context(SendingNode("node", broker.port, pki)))


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("GATEWAY_SEED") or random.SystemRandom().randrange(2**32))
    print(f"GATEWAY_SEED={seed}")  # noqa: T201  # what repeats a failure
    return random.Random(seed)


def ring() -> dict[Identity, Message]:
    """Return what the node has to send: an old epoch, a newer one from SWITCH on, and a gap for what is lost."""
    messages = {}
    for sequence in range(1, LAST + 1):
        epoch = OLD if sequence <= SWITCH else NEW
        if sequence not in LOST or sequence == FOUND:
            messages["telemetry", epoch, sequence] = sent(sequence, epoch)
    messages["telemetry", OLD, LOST[0]] = sent_gap(gap(LOST[0], LOST[-1], OLD))
    return messages


def stored(bench: Bench) -> set[Identity]:
    """Return the identities that the receiver's store accounts for."""
    sql = "SELECT lane, epoch, first, last FROM run JOIN watermark ON watermark.id = run.watermark_id"
    with contextlib.closing(sqlite3.connect(bench.site.region_state / watermarks.FILE_NAME)) as database:
        rows = database.execute(sql).fetchall()
    return {(lane, epoch, number) for lane, epoch, first, last in rows for number in range(first, last + 1)}


def status(bench: Bench) -> dict:
    command = [PROGRAM, "region", "status", "--json", "-c", str(bench.site.folder / "receiver.toml")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=10).stdout)


def send_until_durable(bench: Bench, messages: dict[Identity, Message], timeout_s: float = 30.0) -> None:
    """Send what is not acknowledged, once a second, as a node does."""

    def is_durable() -> bool:
        bench.node.hear()
        missing = messages.keys() - bench.node.durable
        for identity in missing:
            bench.node.send(messages[identity])
        return not missing

    wait_for(is_durable, "everything is acknowledged", timeout_s, poll_s=1.0)


def wait_for_word(bench: Bench, outstanding: set[Identity]) -> None:
    """Wait until the receiver has said something new, if there is anything it has not said yet."""
    before = bench.node.hear()
    wait_for(lambda: bench.node.hear() > before or outstanding <= bench.node.durable, "a word")


def check_every_reading_is_there_once(bench: Bench) -> None:
    expected = sorted(
        ("plant/a", "value", time_ns, float(sequence))
        for sequence in range(1, LAST + 1)
        if sequence not in LOST or sequence == FOUND
        for time_ns in range(readings_of(sequence))
    )
    assert sorted(bench.site.readings()) == expected
    assert sorted(bench.site.ndjson()) == expected


def check_books(bench: Bench) -> None:
    report = status(bench)
    lanes = {lane["epoch"]: lane for lane in report["lanes"]}
    assert report["rejected"] == {}
    assert lanes[OLD]["received"] + lanes[NEW]["received"] == len(bench.site.readings())
    assert lanes[OLD]["lost"] == {"evicted": readings_between(LOST[0], LOST[-1]) - readings_of(FOUND)}
    assert [(lane["missing"], lane["unaccounted"]) for lane in lanes.values()] == [(0, 0)] * 2
    assert (lanes[OLD]["watermark"], lanes[NEW]["watermark"]) == (SWITCH, LAST)


def test_killing_the_receiver_at_random_moments_writes_each_reading_once_to_each_sink(bench, chance) -> None:
    messages = ring()
    order = [identity for identity in messages for _ in range(chance.randrange(1, 4))]
    chance.shuffle(order)
    kills = {chance.randrange(len(order)) for _ in range(KILLS)}
    for number, identity in enumerate(order):
        bench.node.send(messages[identity])
        if number in kills:
            if chance.random() < 0.5:
                wait_for_word(bench, set(order[: number + 1]))
            bench.site.receiver.kill()
            bench.node.hear()
            assert bench.node.durable & messages.keys() <= stored(bench)
            bench.site.receiver.start()
    send_until_durable(bench, messages)
    bench.site.receiver.stop()
    check_every_reading_is_there_once(bench)
    check_books(bench)


def test_the_broker_may_die_and_forged_or_broken_batches_stop_nothing(bench, chance) -> None:
    messages = ring()
    order = [*messages.values(), *messages.values()]
    chance.shuffle(order)
    topic = order[0].topic
    broken = [Message(topic, b""), Message(topic, order[0].payload[:-7]), Message(topic, chance.randbytes(50_000))]
    forged = Message(topic.replace("node", "other"), order[0].payload)
    for number, message in enumerate(order):
        bench.node.send(message)
        if number % 200 == 100:
            bench.node.send(chance.choice(broken))
            bench.node.send(forged)
        if number == len(order) // 2:
            wait_for(bench.node.hear, "a word")
            bench.broker.kill()
            bench.broker.start()
    send_until_durable(bench, messages)
    bench.site.receiver.stop()
    check_every_reading_is_there_once(bench)
    assert set(status(bench)["rejected"]) <= {"no_batch", "other_node"}
    assert status(bench)["rejected"]
    assert all(lane["unaccounted"] == 0 for lane in status(bench)["lanes"])


def test_a_copied_disk_is_refused_and_named(bench) -> None:
    for sequence in range(1, 4):
        bench.node.send(sent(sequence, OLD))
    bench.node.send(sent(4, NEW))
    wait_for(lambda: bench.node.hear() == 4, "the ring is acknowledged")
    bench.node.send(sent(4, OLD))
    bench.node.send(sent(3, OLD, salt=0.5))
    bench.node.send(sent(5, NEW))
    wait_for(lambda: bench.node.hear() == 5, "the rightful node goes on")
    report = status(bench)
    assert report["rejected"] == {"stale_epoch": 1, "fork": 1}
    assert all("is the node's disk a copy?" in letter["detail"] for letter in report["dead_letters"])
    assert ("telemetry", OLD, 4) not in bench.node.durable


def test_a_receiver_waits_for_its_broker_and_stops_while_it_waits(bench) -> None:
    bench.site.receiver.stop()
    bench.broker.kill()
    bench.site.receiver.spawn()
    bench.broker.start()
    bench.site.receiver.wait_ready()
    bench.broker.kill()
    wait_for(lambda: "connection lost" in bench.site.receiver.log(), "the receiver sees it")
    bench.site.receiver.stop()
