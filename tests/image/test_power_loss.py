"""Power cuts of a whole machine: no acknowledged message is lost, none is delivered twice.

The daemon runs in a virtual machine with Debian's kernel, its state on an ext4 of its own; brokers, sensors and the
receiver run on the host. qemu is killed while the daemon writes, at a random write of the disk, and sometimes again
while kernel and daemon recover. Pages that the guest had not synced are gone, and the test shows that some were; of
what its kernel had written but not flushed, the disk forgets half or all.

The publisher numbers its messages and books what the local broker acknowledged. Half the topics go on as they are, the
others through windows, whose counts must add up: state that only checkpoint and replay bring back is in the proof. The
seed is printed: GATEWAY_SEED draws the same moments again, GATEWAY_CUTS more of them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.demo.pki import write_pki
from gateway.region import watermarks
from tests.support.guest import SITE_FOLDER, STATE_FOLDER, Guest
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import Stream
from tests.support.site import NODE, REGION, Reading, Site, pems, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

RATE = 200
MORE_MAX = 5000
"""Messages between two cuts: the backlog of a boot is about half of it, so cuts lie in it and after it."""

RAW = [f"raw/{number}" for number in range(10)]
WINDOWED = [f"window/{number}" for number in range(10)]
ROUTES = """
[journal]
segment_bytes = "256KiB"
checkpoint_bytes_min = "64KiB"
checkpoint_interval = "1s"

[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"

[[route]]
name = "window"
topics = ["window/+"]
lane = "telemetry"
[route.window]
size = "1s"
idle = "1s"
functions = ["count", "sum"]
"""
FLOWING_S = 60.0
SETTLED_S = 180.0
RECOVERED = r'"recovered in ([\d.]+) s: (\d+) messages replayed, batches (\{.*?\})"'


class Acknowledgements:
    """Counts the gateway's PUBACKs as the local broker logs them; each byte of the log is read once."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("rb")
        self._count = 0

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more have come."""
        goal = self.count() + number
        wait_for(lambda: self.count() >= goal, f"{number} more messages acknowledged", FLOWING_S, 0.001)

    def count(self) -> int:
        """Return how many came so far."""
        while line := self._file.readline():
            if not line.endswith(b"\n"):
                self._file.seek(-len(line), os.SEEK_CUR)
                break
            self._count += b"Received PUBACK from edge-gateway-node-1 " in line
        return self._count


class Bench(NamedTuple):
    """Everything that runs."""

    guest: Guest
    site: Site
    stream: Stream
    acknowledged: Acknowledgements


@contextmanager
def running(tmp_path: Path) -> Iterator[Bench]:
    """Start brokers, receiver, guest and publisher."""
    pki = tmp_path / "pki"
    write_pki(pki)
    with ExitStack() as stack:
        local = stack.enter_context(
            Mosquitto(tmp_path / "local", max_queued_messages=0, max_inflight_messages=2000, log_type="all")
        )
        central = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki)))
        site = stack.enter_context(Site(tmp_path, "", broker_port=local.port, region_port=central.port, pki=pki))
        site.receiver.start()
        guest = stack.enter_context(
            Guest(tmp_path / "guest", settings(tmp_path / "settings", pki, local.port, central.port))
        )
        guest.boot()
        wait_for(lambda: "Sending SUBACK to edge-gateway-node-1" in local.log(), "the gateway has subscribed")
        stream = Stream(local.port, RAW + WINDOWED, rate=RATE)
        stream.start()
        acknowledged = stack.enter_context(closing(Acknowledgements(tmp_path / "local" / "mosquitto.log")))
        yield Bench(guest, site, stream, acknowledged)


def settings(folder: Path, pki: Path, local: int, central: int) -> Path:
    """Return a folder with what the guest is given: its configuration and its keys."""
    shutil.copytree(pki, folder / "pki")
    node = NODE.format(state=STATE_FOLDER, port=local, broker='host = "localhost"', lane='linger = "100ms"')
    region = REGION.format(port=central, region="", **pems(Path(SITE_FOLDER, "pki"), "node"))
    (folder / "gateway.toml").write_text(node + region + ROUTES, "utf-8")
    return folder


def added(readings: list[Reading], field: str) -> float:
    """Return the sum of the values of a field."""
    return sum(float(one.value) for one in readings if one.field == field)


def check_everything_arrived_once(bench: Bench) -> int:
    """Stop the load, wait until the region has it all, hold the books against each other; return the messages."""
    books = bench.stream.stop()
    assert bench.stream.unmatched == 0, "the broker had no session of the gateway for some messages"
    raw, total = sum(books[topic] for topic in RAW), sum(books.values())

    def is_settled() -> bool:
        readings = bench.site.readings()
        return sum(one.field == "n" for one in readings) >= raw and added(readings, "n.count") >= total - raw

    wait_for(is_settled, "everything is at the region", SETTLED_S, poll_s=0.5)
    status = bench.guest.status()
    assert status["residual"] == {"messages": 0, "readings": 0}, status
    bench.guest.stop()
    readings = bench.site.readings()
    for topic in RAW:
        numbers = Counter(one.value for one in readings if one.topic == topic)
        assert numbers == Counter(range(books[topic])), topic
    for topic in WINDOWED:
        of_topic = [one for one in readings if one.topic == topic]
        count, summed = added(of_topic, "n.count"), added(of_topic, "n.sum")
        assert (count, summed) == (books[topic], books[topic] * (books[topic] - 1) // 2), topic
    report = watermarks.report(bench.site.region_state)
    assert (report.unaccounted, report.rejected) == (0, {}), report
    assert not any(lane.missing or lane.lost or lane.forks for lane in report.lanes), report
    return total


def test_cutting_the_power_of_a_machine_while_it_writes_loses_nothing_and_delivers_nothing_twice(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("GATEWAY_SEED") or random.SystemRandom().randrange(2**32))
    print(f"GATEWAY_SEED={seed}")  # noqa: T201  # what repeats a failure
    chance = random.Random(seed)
    cuts = int(os.environ.get("GATEWAY_CUTS", "12"))
    starting = 0
    began = time.monotonic()
    with running(tmp_path) as bench:
        for number in range(1, cuts + 1):
            bench.acknowledged.wait_for_more(chance.randrange(1, MORE_MAX))
            assert bench.guest.cut(chance, writes=chance.randrange(1, 100)), "the daemon writes no more"
            if chance.random() < 0.4:  # the power comes back, and goes again while kernel or daemon recover
                bench.guest.switch_on()
                bench.guest.cut(chance, writes=chance.randrange(1, 100))
                starting += 1
            seconds = bench.guest.boot()
            print(recovery(number, bench.guest, seconds))  # noqa: T201  # for people
        total = check_everything_arrived_once(bench)
        guest = bench.guest
        summary = (
            f"{cuts} cuts while it wrote, {starting} while it started, in {time.monotonic() - began:.0f} s:",
            f"{total} messages, none lost, none twice;",
            f"of a file that nothing syncs {guest.lost_marks} lines are lost;",
            f"of {guest.unflushed_blocks} blocks that were not flushed the disk forgot {guest.undone_blocks}",
        )
        print(*summary)  # noqa: T201  # for people
        assert guest.lost_marks > 0, "no cut has lost anything that was not synced: these are no power cuts"
        assert guest.undone_blocks > 0, "no cut has lost anything that was not flushed"


def recovery(number: int, guest: Guest, seconds: float) -> str:
    """Return one line about a start after a cut, from the daemon's own report on the console."""
    match = re.search(RECOVERED, guest.log())
    assert match, guest.log()
    notes = re.findall(r'"recovery: (.*?)"', guest.log())
    return (
        f"cut {number}: daemon ready after {seconds:.1f} s (emulated), recovered in {match[1]} s,"
        f" {match[2]} messages replayed, batches {match[3]}, notes {notes}"
    )
