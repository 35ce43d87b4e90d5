"""A site under load whose state folder lies on a file system that a test breaks and heals, and what must hold then.

A publisher numbers its messages per topic and books what the local broker acknowledged to it; the broker logs each
PUBACK of the gateway. The status socket lies outside the state folder, so that a daemon answers whatever its disk does.
Nothing here knows how the daemon gets through a fault: only what it promises.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.demo.pki import write_pki
from gateway.region import watermarks
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import Stream
from tests.support.site import PROGRAM, STATUS_S, Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOPICS = [f"plant/{number}" for number in range(10)]
RATE = 400
NOISE_BYTES = 300
HEAL_S = 20.0
SETTLED_S = 40.0

SMALL_FILES = """
[journal]
segment_bytes = "64KiB"
checkpoint_bytes_min = "64KiB"
checkpoint_interval = "1s"

[spool]
segment_bytes = "128KiB"
free_bytes_min = "1MiB"
"""
EVICTS = 'linger = "100ms"\nbatch_bytes_max = "64KiB"'
REFUSES = EVICTS + '\npolicy = "refuse"'

ROUTES = """
[[route]]
name = "all"
topics = ["plant/+"]
lane = "telemetry"
"""


class DiskBench(NamedTuple):
    """Everything that runs. The daemon is not started yet."""

    site: Site
    local: Mosquitto
    central: Mosquitto
    folder: Path

    def start(self, *, noise_bytes: int = NOISE_BYTES, rate: float = RATE) -> Stream:
        """Start the daemon and the load; return when some of it has passed."""
        self.site.daemon.start()
        wait_for(lambda: self.site.status()["ingest"]["connected"], "the daemon has subscribed")
        stream = Stream(self.local.port, TOPICS, rate=rate, noise_bytes=noise_bytes)
        stream.start()
        self.wait_acknowledged(int(rate / 2))
        return stream

    def restart(self) -> None:
        """Start the daemon again, after a kill."""
        self.site.daemon.start()
        wait_for(lambda: self.site.status()["ingest"]["connected"], "the daemon has subscribed again")

    def acknowledged(self) -> int:
        """Return how many PUBACKs of the gateway the local broker has seen."""
        return self.local.log().count("Received PUBACK from edge-gateway-node-1 ")

    def wait_acknowledged(self, more: int, timeout_s: float = HEAL_S) -> None:
        """Wait until the gateway has acknowledged so many more messages."""
        goal = self.acknowledged() + more
        self.is_running()
        wait_for(lambda: self.acknowledged() >= goal, f"{more} more messages acknowledged", timeout_s, 0.05)

    def is_running(self) -> bool:
        """Fail when the daemon has ended by itself."""
        return self.site.daemon.is_ready()

    def disk(self) -> dict[str, Any]:
        """Return what the status says of the disk; fails when the daemon has ended by itself."""
        self.is_running()
        return self.site.status()["disk"]

    def wait_for_fault(self, *states: str) -> None:
        """Wait until the status names a fault in one of these states, and check that people are shown it."""
        wait_for(lambda: self.disk()["faults"] and self.disk()["state"] in states, f"the disk is {states}", 20.0, 0.05)
        command = [PROGRAM, "status", "--json", "-c", str(self.site.configuration)]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=2 * STATUS_S).stdout
        disk = json.loads(shown)["disk"]
        assert disk["faults"], disk
        assert disk["state"] in states, disk

    def check_nothing_acknowledged(self, seconds: float) -> None:
        """Check that for so long nothing at all is acknowledged."""
        before = self.acknowledged()
        time.sleep(seconds)
        assert self.acknowledged() == before, "messages were acknowledged that are not durable"
        self.is_running()

    def wait_healed(self, timeout_s: float = HEAL_S) -> None:
        """Wait until the daemon has found by itself that the disk works again."""
        wait_for(lambda: not self.disk()["faults"] and self.disk()["state"] == "ok", "the disk is ok", timeout_s, 0.05)

    def named(self) -> Counter[str]:
        """Return how often this start of the daemon logged each warning or error; numbers are left out of the words."""
        path = self.site.daemon.log_path
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.startswith("{")]
        return Counter(re.sub(r"\d+", "#", line["message"]) for line in lines if line["level"] in {"warning", "error"})

    def check_everything_arrived_once(self, stream: Stream, *, may_evict: bool = False) -> int:
        """Stop the load, wait until the region has it all, hold the books against each other; return the messages.

        With `may_evict` readings may be missing that the region was told are evicted, exactly as many as it was told.
        """
        books = stream.stop()
        assert stream.unmatched == 0, "the broker had no session of the gateway for some messages"
        fields = ("n", "noise") if stream.is_noisy else ("n",)
        total = sum(books.values())
        self.site.wait_received(total, SETTLED_S)
        self._wait_decided(total * len(fields))
        times = Counter((one.topic, one.field, one.value) for one in self.site.readings() if one.field == "n")
        wanted = Counter((topic, "n", number) for topic in TOPICS for number in range(books[topic]))
        assert not times - wanted, "arrived twice, or never sent"
        (lane,) = watermarks.report(self.site.region_state).lanes
        assert (lane.expected, lane.missing, lane.unaccounted, lane.forks) == (total * len(fields), 0, 0, 0), lane
        assert set(lane.lost) <= ({"evicted"} if may_evict else set()), lane
        assert len(self.site.readings()) == lane.received
        assert sum((wanted - times).values()) * len(fields) == sum(lane.lost.values()), (
            "the gaps do not say what is lost"
        )
        assert watermarks.report(self.site.region_state).rejected == {}
        status = self.site.status()
        assert status["residual"] == {"messages": 0, "readings": 0}, status
        return total

    def _wait_decided(self, readings: int) -> None:
        """Wait until the region has decided so many readings; when it has not, say where they may be."""
        try:
            wait_for(lambda: self._decided() >= readings, f"the region has {readings} readings", SETTLED_S, 0.2)
        except AssertionError as late:
            lanes = watermarks.report(self.site.region_state).lanes
            raise AssertionError(f"{late}; at the region: {lanes}; at the box: {self.site.status()}") from late

    def _decided(self) -> int:
        """Return how many readings the region has, or knows are lost."""
        self.is_running()
        lanes = watermarks.report(self.site.region_state).lanes
        return sum(lane.received + sum(lane.lost.values()) for lane in lanes)


@contextmanager
def disk_bench(tmp_path: Path, *, settings: str = SMALL_FILES, lane: str = REFUSES) -> Iterator[DiskBench]:
    """Start brokers and receiver; the daemon's state folder is `tmp_path / "node"`."""
    pki = tmp_path / "pki"
    write_pki(pki)
    with ExitStack() as stack:
        local = stack.enter_context(
            Mosquitto(tmp_path / "local", max_queued_messages=0, max_inflight_messages=2000, log_type="all")
        )
        central = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki)))
        routes = ROUTES + settings
        site = stack.enter_context(
            Site(tmp_path, routes, broker_port=local.port, region_port=central.port, pki=pki, lane=lane)
        )
        site.socket = tmp_path / "status.sock"
        text = site.configuration.read_text("utf-8")
        text = text.replace("[node]\n", f'[node]\nstatus_socket = "{site.socket}"\n')
        site.configuration.write_text(text, "utf-8")
        site.receiver.start()
        yield DiskBench(site, local, central, tmp_path)
