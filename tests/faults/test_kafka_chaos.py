"""A region behind Kafka under every fault that network, broker and receiver have holds each reading once in the end.

The line loses packets each way, delays them and is narrow all the time; connections over it go through a proxy. Each
step does one thing to the uplink and one behind it while sensors publish, takes both back, and waits until the topic
has what was published. What came twice is printed: records in the topic, batches that the receiver took again, readings
that its sink holds twice. GATEWAY_LONG=1 takes all faults, twice; GATEWAY_SEED repeats.

A consumer that was killed keeps its place in the group until Kafka gives it up after 45 s, which only the long test
waits for; in the short one its successor is of another group, which gets everything again.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.kafka_region import KafkaRegion
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
RATE = 200.0
STEPS = 2
LINE: dict[str, Any] = {"delay_s": 0.1, "loss": 0.05, "bits_s": 64_000}
SOME = 100
"""Messages that are published under a fault which needs not be noticed."""

Fault = Callable[[KafkaRegion, random.Random], "Iterator[None]"]
ROWS = "{:22} {:32} {:>8} {:>9} {:>11} {:>11}"


def _noticed(bench: KafkaRegion) -> Callable[[], None]:
    """Return what waits until the daemon has lost its link once more."""
    before = bench.mirror()["faults"]

    def wait() -> None:
        wait_for(lambda: bench.mirror()["faults"] > before, "the daemon notices it", 30.0, 0.05)

    return wait


def cut(bench: KafkaRegion, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    bench.proxy.cut(with_reset=chance.random() < 0.5)
    yield
    noticed()


def reset_in_mid_packet(bench: KafkaRegion, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    bench.proxy.reset_after(chance.randrange(1, 2000), chance.choice(("up", "down")))
    yield
    noticed()


def refused_connections(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    bench.proxy.refuse()
    bench.proxy.cut()
    noticed()
    yield
    bench.proxy.refuse(refuses=False)


def half_open_connection(bench: KafkaRegion, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    bench.proxy.black_hole(chance.choice((("up",), ("down",), ("up", "down"))))
    yield
    noticed()
    bench.proxy.black_hole(swallows=False)


def lost_acknowledgements(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    """All that is sent arrives and no answer comes back, until the daemon gives the link up: all of it comes twice."""
    noticed = _noticed(bench)
    bench.proxy.stall(("down",))
    yield
    noticed()
    bench.proxy.cut()
    bench.proxy.stall(stalls=False)


def slow_reader(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    bench.proxy.read_slowly(4000.0, window_bytes=4096)
    bench.proxy.cut()  # a window is for new connections
    yield
    bench.proxy.read_slowly(0.0)


def partition(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    bench.line.cut()
    yield
    noticed()
    bench.line.cut(is_cut=False)


def one_way_partition(bench: KafkaRegion, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    way = chance.choice((bench.line.out, bench.line.back))
    way.is_cut = True
    yield
    noticed()
    way.is_cut = False


def worse_line(bench: KafkaRegion, chance: random.Random) -> Iterator[None]:
    bench.line.shape(delay_s=chance.uniform(0.0, 0.6), loss=chance.uniform(0.05, 0.2), bits_s=32_000)
    yield
    bench.line.shape(**LINE)


def broker_killed(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench)
    bench.kill_broker()
    yield
    noticed()
    bench.start_broker()


def receiver_killed(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    bench.receiver.kill()
    yield
    bench.receiver.spawn()


def receiver_killed_and_offsets_lost(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    """Its successor begins anew, with all that the topic ever held."""
    bench.receiver.kill()
    yield
    bench.regroup()
    bench.receiver.spawn()


def receiver_hangs(bench: KafkaRegion, _: random.Random) -> Iterator[None]:
    """It hangs until Kafka has given it up, and goes on with records in its hands that are not its own any more."""
    os.kill(bench.receiver.pid, signal.SIGSTOP)
    yield
    bench.wait_forgotten()
    os.kill(bench.receiver.pid, signal.SIGCONT)


def nothing_else(_: KafkaRegion, __: random.Random) -> Iterator[None]:
    """Loss, delay and rate are faults enough."""
    yield


AT_UPLINK: tuple[Fault, ...] = (
    cut,
    reset_in_mid_packet,
    refused_connections,
    half_open_connection,
    lost_acknowledgements,
    slow_reader,
    partition,
    one_way_partition,
    worse_line,
)
AT_REGION: tuple[Fault, ...] = (
    receiver_killed,
    broker_killed,
    receiver_killed_and_offsets_lost,
    receiver_hangs,
    nothing_else,
)


def chosen(chance: random.Random) -> list[tuple[Fault, Fault]]:
    """Return the steps: a fault of the uplink and one behind it each."""
    if IS_LONG:
        uplink = chance.sample([*AT_UPLINK, *AT_UPLINK], 2 * len(AT_UPLINK))
        return [(fault, AT_REGION[number % len(AT_REGION)]) for number, fault in enumerate(uplink)]
    others = chance.sample([fault for fault in AT_UPLINK if fault is not reset_in_mid_packet], STEPS - 1)
    uplink = chance.sample([reset_in_mid_packet, *others], STEPS)
    region = chance.sample([broker_killed, receiver_killed_and_offsets_lost, nothing_else], STEPS)
    return list(zip(uplink, region, strict=True))


class Told:
    """Prints what each step cost: what came more than once, before and after de-duplication."""

    def __init__(self, bench: KafkaRegion) -> None:
        self._bench = bench
        self._before = bench.records()
        print(ROWS.format("uplink", "region", "records", "repeated", "taken again", "held twice"))  # noqa: T201

    def step(self, uplink: Fault, region: Fault) -> None:
        before, self._before = self._before, self._bench.records()
        total, batches = self._before.total - before.total, self._before.batches - before.batches
        self._print(uplink.__name__, region.__name__, total, total - batches)

    def end(self) -> None:
        records = self._bench.records()
        self._print("in all", "", records.total, records.total - records.batches)

    def _print(self, uplink: str, region: str, records: int, repeated: int) -> None:
        counts = self._bench.books.counts()
        row = ROWS.format(uplink, region, records, repeated, counts.repeated, counts.held_twice)
        print(row)  # noqa: T201  # for people


def test_the_receiver_holds_each_reading_once_whatever_happens_to_uplink_kafka_and_receiver(
    tmp_path: Path, chance: random.Random
) -> None:
    with KafkaRegion(tmp_path, chance.randrange(2**16), RATE) as bench:
        bench.line.shape(**LINE)
        bench.publish(SOME)
        bench.wait_held()
        told = Told(bench)
        for uplink, region in chosen(chance):
            with ExitStack() as stack:
                for fault in (region, uplink):
                    stack.enter_context(contextmanager(fault)(bench, chance))
                bench.publish(SOME)
            bench.wait_taken()
            if IS_LONG:
                bench.wait_held()
            told.step(uplink, region)
        bench.check_everything_arrived_once()
        told.end()
