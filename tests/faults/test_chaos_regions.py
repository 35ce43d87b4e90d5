"""Two regions under every fault that networks, peers and clocks have: both hold each reading once in the end.

The far region is at the end of a line that loses 5 % of all packets each way, delays each by 300 ms and carries 64
kbit/s, all the time; the near one is behind a proxy. Each step does one thing to each of them while sensors publish,
takes it back, and waits until both regions have what was published. What came twice is printed, before and after
de-duplication. A few steps are chosen by chance; GATEWAY_LONG=1 takes all of them, twice; GATEWAY_SEED repeats.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.receiver_books import Counts
from tests.support.two_regions import FAR, NEAR, TwoRegions
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
RATE = 200.0
STEPS = 3
VALID_S = 4.0
LINE = {"delay_s": 0.3, "loss": 0.05, "bits_s": 64_000}
SOME = 100
"""Messages that are published under a fault which needs not be noticed."""

Fault = Callable[[TwoRegions, random.Random], "Iterator[None]"]


def _noticed(bench: TwoRegions, region: str) -> Callable[[], None]:
    """Return what waits until the daemon has lost its link to a region once more."""
    before = bench.region(region)["faults"]

    def wait() -> None:
        wait_for(lambda: bench.region(region)["faults"] > before, f"the daemon notices it: {region}", 30.0, 0.05)

    return wait


def cut(bench: TwoRegions, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, NEAR)
    bench.proxy.cut(with_reset=chance.random() < 0.5)
    yield
    noticed()


def reset_in_mid_packet(bench: TwoRegions, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, NEAR)
    bench.proxy.reset_after(chance.randrange(1, 2000), chance.choice(("up", "down")))
    yield
    noticed()


def refused_connections(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, NEAR)
    bench.proxy.refuse()
    bench.proxy.cut()
    noticed()
    yield
    bench.proxy.refuse(refuses=False)


def half_open_connection(bench: TwoRegions, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, NEAR)
    bench.proxy.black_hole(chance.choice((("up",), ("down",), ("up", "down"))))
    yield
    noticed()
    bench.proxy.black_hole(swallows=False)


def stalled_reader(bench: TwoRegions, chance: random.Random) -> Iterator[None]:
    bench.proxy.stall(chance.choice((("up",), ("down",), ("up", "down"))))
    yield
    bench.proxy.stall(stalls=False)


def slow_reader(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    bench.proxy.read_slowly(4000.0, window_bytes=4096)
    bench.proxy.cut()  # a window is for new connections
    yield
    bench.proxy.read_slowly(0.0)


def near_broker_killed(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, NEAR)
    bench.near.broker.kill()
    yield
    noticed()
    bench.near.broker.start()


def near_receiver_killed(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    bench.near.receiver.kill()
    yield
    bench.near.receiver.start()


def certificate_expired(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    """The certificate ends in mid-session, which goes on; the next one is refused until there is a new certificate."""
    connects = bench.region(NEAR)["connects"]
    ends_at = time.monotonic() + VALID_S
    bench.renew(NEAR, valid_s=VALID_S)
    wait_for(lambda: bench.region(NEAR)["connects"] > connects, "the daemon uses its new certificate")
    yield
    wait_for(lambda: time.monotonic() > ends_at + 1.0, "it has expired")  # times in certificates are whole seconds
    assert bench.region(NEAR)["connected"]
    bench.proxy.cut()
    wait_for(lambda: "expired" in bench.region(NEAR)["last_fault"], "the daemon says why it is refused")
    bench.publish(SOME)
    assert not bench.region(NEAR)["connected"]
    bench.renew(NEAR)


def partition(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, FAR)
    bench.line.cut()
    yield
    noticed()
    bench.line.cut(is_cut=False)


def one_way_partition(bench: TwoRegions, chance: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, FAR)
    way = chance.choice((bench.line.out, bench.line.back))
    way.is_cut = True
    yield
    noticed()
    way.is_cut = False


def far_broker_killed(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    noticed = _noticed(bench, FAR)
    bench.far.broker.kill()
    yield
    noticed()
    bench.far.broker.start()


def far_receiver_killed(bench: TwoRegions, _: random.Random) -> Iterator[None]:
    bench.far.receiver.kill()
    yield
    bench.far.receiver.start()


def worse_line(bench: TwoRegions, chance: random.Random) -> Iterator[None]:
    bench.line.shape(delay_s=chance.uniform(0.0, 0.8), loss=chance.uniform(0.05, 0.2), bits_s=32_000)
    yield
    bench.line.shape(**LINE)


AT_NEAR: tuple[Fault, ...] = (
    cut,
    reset_in_mid_packet,
    refused_connections,
    half_open_connection,
    stalled_reader,
    slow_reader,
    near_broker_killed,
    near_receiver_killed,
    certificate_expired,
)


def line_as_ever(_: TwoRegions, __: random.Random) -> Iterator[None]:
    """Loss, delay and rate are faults enough."""
    yield


PARTITIONS: tuple[Fault, ...] = (partition, one_way_partition)
AT_FAR_ELSE: tuple[Fault, ...] = (far_broker_killed, far_receiver_killed, worse_line)


def chosen(chance: random.Random) -> list[tuple[Fault, Fault]]:
    """Return the steps: a fault near and a fault far each."""
    if IS_LONG:
        near, at_far = [*AT_NEAR, *AT_NEAR], (*PARTITIONS, *AT_FAR_ELSE)
        far = [at_far[number % len(at_far)] for number in range(len(near))]
        chance.shuffle(near)
    else:
        near = chance.sample(AT_NEAR, STEPS)
        far = [chance.choice(PARTITIONS), chance.choice(AT_FAR_ELSE), line_as_ever]  # what is far takes long
    chance.shuffle(far)
    return list(zip(near, far, strict=True))


def told(where: str, fault: str, before: Counts, after: Counts) -> None:
    """Print what a fault cost."""
    batches, repeated = after.batches - before.batches, after.repeated - before.repeated
    print(f"{where:5} {fault:24} {batches:8} {repeated:9} {after.held_twice:11}")  # noqa: T201  # for people


def test_both_regions_hold_each_reading_once_whatever_happens_on_the_way(tmp_path: Path, chance) -> None:
    with TwoRegions(tmp_path, chance.randrange(2**16), RATE) as bench:
        bench.line.shape(**LINE)
        bench.publish(SOME)
        bench.wait_caught_up()
        print(f"{'':5} {'fault':24} {'batches':>8} {'repeated':>9} {'held twice':>11}")  # noqa: T201
        for near, far in chosen(chance):
            before = {region.name: region.books.counts() for region in bench.regions}
            with ExitStack() as stack:
                for fault in (far, near):
                    stack.enter_context(contextmanager(fault)(bench, chance))
                bench.publish(SOME)
            bench.wait_caught_up()
            for region, fault in zip(bench.regions, (near, far), strict=True):
                told(region.name, fault.__name__, before[region.name], region.books.counts())
        bench.check_everything_arrived_once()
        for region in bench.regions:
            told(region.name, "in all", Counts(0, 0, 0, 0), region.books.counts())
